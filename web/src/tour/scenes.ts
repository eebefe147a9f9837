// The small drawing beside each step of the tour, from the photo and the trace.
import { css, MARK } from "../draw/colour";
import { outline, pen, strokeEdges } from "../draw/heat";
import type { Box } from "../grid";
import { boxOf, sees, type Groups } from "../groups";
import type { Manifest } from "../schema";
import type { Block } from "../rows";
import type { Quiz } from "./quiz";
import type { TourStep } from "./steps";

export interface SceneData {
  manifest: Manifest;
  step: TourStep;
  seen: ImageBitmap;
  shown: ImageBitmap;
  groups: Groups; // of the step's block
  before: Groups | null; // of the block that the question compares with
  quiz: Quiz | null;
  answered: boolean;
  token: number;
  features: { height: number; width: number; data: ArrayLike<number> } | null;
}

type Pen = CanvasRenderingContext2D;
const OTHER = "#ffffff";

// Draw a step's scene into a canvas of the given width in CSS pixels.
export function paintScene(canvas: HTMLCanvasElement, width: number, data: SceneData): void {
  const [high, wide] = data.manifest.photo.input;
  const height = Math.round(Math.min(width * 1.3, width * (high / wide)));
  canvas.style.height = `${height}px`;
  const context = pen(canvas, width, height);
  const scenes: Record<TourStep["scene"], () => void> = {
    photo: () => photo(context, data.seen, width, height, false),
    patches: () => zoomed(context, data, width, height),
    groups: () => grouped(context, data, data.groups, data.token, width, height),
    pair: () => pair(context, data, width, height),
    merge: () => merged(context, data, width, height),
    stages: () => stages(context, data, width, height),
    answer: () => answer(context, data, width, height),
    cost: () => cost(context, data, width, height),
  };
  scenes[data.step.scene]();
}

function photo(context: Pen, image: ImageBitmap, width: number, height: number, smooth = true): void {
  context.imageSmoothingEnabled = smooth;
  context.drawImage(image, 0, 0, width, height);
}

const blockOf = ({ manifest, step }: SceneData): Block => manifest.blocks[step.block];

// CSS pixels of a token along each axis; a grid may reach beyond the photo.
function unitOf({ manifest: { photo: { input } } }: SceneData, stride: readonly number[], width: number, height: number): [number, number] {
  return [(stride[0] / input[0]) * height, (stride[1] / input[1]) * width];
}

// A part of the photo around the step's place, with the borders of its patches.
function zoomed(context: Pen, data: SceneData, width: number, height: number): void {
  const { stride, spatial } = data.manifest.stages[0];
  lens(context, data, stride, spatial, 8, width, height);
}

// Eight tokens a side of a grid, enlarged; returns pixels of a token.
function lens(context: Pen, { manifest, step, shown }: SceneData, stride: readonly number[], spatial: readonly number[], across: number, width: number, height: number): [number, number] {
  const [rows, columns] = [Math.min(across, spatial[0]), Math.min(across, spatial[1])];
  const [y, x] = [rows, columns].map((n, axis) => Math.max(0, Math.min(spatial[axis] - n, Math.floor(step.at[axis] * spatial[axis] - n / 2))));
  const [sy, sx] = [shown.height / manifest.photo.input[0], shown.width / manifest.photo.input[1]];
  context.imageSmoothingEnabled = true;
  context.drawImage(shown, x * stride[1] * sx, y * stride[0] * sy, columns * stride[1] * sx, rows * stride[0] * sy, 0, 0, width, height);
  const unit: [number, number] = [height / rows, width / columns];
  const lines: Box[] = [];
  for (let v = 1; v < rows; v++) lines.push([v, 0, v, columns]);
  for (let h = 1; h < columns; h++) lines.push([0, h, rows, h]);
  strokeEdges(context, lines, unit, "rgb(255 255 255 / .85)", 1, [], 1);
  return unit;
}

// The cells that a token may see, as one flag a cell of the grid.
export function visible(groups: Groups, token: number): Uint8Array {
  const flags = new Uint8Array(groups.rows * groups.columns);
  const slot = groups.slotOf[token];
  const start = Math.floor(slot / groups.queriesPerGroup) * groups.keysPerGroup;
  for (let key = start; key < start + groups.keysPerGroup; key++) {
    const box = groups.keys[key] >= 0 && sees(groups, slot, key) ? boxOf(groups, key) : null;
    if (box) for (let y = box[0]; y < box[2]; y++) flags.fill(1, y * groups.columns + box[1], y * groups.columns + box[3]);
  }
  return flags;
}

// Borders between cells of unlike names; `inside` leaves out those of cells that it refuses.
function borders(groups: Groups, name: (cell: number) => number, inside: (cell: number) => boolean): Box[] {
  const edges: Box[] = [];
  const at = (y: number, x: number): number => (y < 0 || x < 0 || y >= groups.rows || x >= groups.columns ? -1 : name(y * groups.columns + x));
  for (let y = 0; y < groups.rows; y++) {
    for (let x = 0; x < groups.columns; x++) {
      if (!inside(y * groups.columns + x)) continue;
      if (at(y - 1, x) !== at(y, x)) edges.push([y, x, y, x + 1]);
      if (at(y + 1, x) !== at(y, x)) edges.push([y + 1, x, y + 1, x + 1]);
      if (at(y, x - 1) !== at(y, x)) edges.push([y, x, y + 1, x]);
      if (at(y, x + 1) !== at(y, x)) edges.push([y, x + 1, y + 1, x + 1]);
    }
  }
  return edges;
}

const groupOf = (groups: Groups, cell: number): number => Math.floor(groups.slotOf[groups.prefix + cell] / groups.queriesPerGroup);

// The photo with everything dimmed that a token may not see.
function grouped(context: Pen, data: SceneData, groups: Groups, token: number, width: number, height: number): void {
  photo(context, data.shown, width, height);
  const unit = unitOf(data, blockOf(data).stride, width, height);
  const flags = visible(groups, token);
  context.fillStyle = "rgb(12 10 18 / .55)";
  flags.forEach((flag, cell) => {
    if (!flag) context.fillRect((cell % groups.columns) * unit[1], Math.floor(cell / groups.columns) * unit[0], unit[1] + 0.5, unit[0] + 0.5);
  });
  const cut = borders(groups, (cell) => groupOf(groups, cell), () => true);
  if (cut.length < 3 * flags.length) strokeEdges(context, cut, unit, "rgb(255 255 255 / .45)", 1, [], 0);
  strokeEdges(context, borders(groups, (cell) => flags[cell], (cell) => flags[cell] > 0), unit, "#fff", 2);
  mark(context, groups, token, unit, MARK);
}

function mark(context: Pen, groups: Groups, token: number, unit: [number, number], ink: string): void {
  if (token < groups.prefix) return;
  const cell = token - groups.prefix;
  const [y, x] = [Math.floor(cell / groups.columns), cell % groups.columns];
  // Small tokens are marked by a larger frame around them.
  const grow = Math.max(0, (9 / Math.min(...unit) - 1) / 2);
  strokeEdges(context, outline(y - grow, x - grow, 1 + 2 * grow, 1 + 2 * grow), unit, ink, 2.5);
}

// Two tokens with their letters; what is allowed comes only with the answer.
function pair(context: Pen, data: SceneData, width: number, height: number): void {
  const { quiz, groups, before, answered } = data;
  if (!quiz) return grouped(context, data, groups, data.token, width, height);
  const unit = unitOf(data, blockOf(data).stride, width, height);
  if (answered) grouped(context, data, groups, quiz.queryToken, width, height);
  else {
    photo(context, data.shown, width, height);
    const known = before ?? groups;
    const cut = before ? borders(known, (cell) => groupOf(known, cell), () => true) : [];
    if (cut.length < 3 * known.rows * known.columns) strokeEdges(context, cut, unit, "rgb(255 255 255 / .5)", 1, [], 0);
  }
  letter(context, groups, quiz.queryToken, quiz.other, unit, MARK, "A", width, height);
  letter(context, groups, quiz.other, quiz.queryToken, unit, OTHER, "B", width, height);
  return undefined;
}

// A token's letter on a plate, on its side away from the other one.
function letter(context: Pen, groups: Groups, token: number, away: number, unit: [number, number], ink: string, text: string, width: number, height: number): void {
  mark(context, groups, token, unit, ink);
  const place = (of: number): [number, number] => [Math.floor((of - groups.prefix) / groups.columns) + 0.5, ((of - groups.prefix) % groups.columns) + 0.5];
  const [[y, x], [v, h]] = [place(token), place(away)];
  const length = Math.hypot((y - v) * unit[0], (x - h) * unit[1]) || 1;
  const reach = Math.max(...unit) / 2 + 15;
  const wanted = [x * unit[1] + ((x - h) * unit[1] * reach) / length, y * unit[0] + ((y - v) * unit[0] * reach) / length];
  const fits = wanted[0] > 10 && wanted[0] < width - 10 && wanted[1] > 10 && wanted[1] < height - 10;
  const inside = (n: number, most: number): number => Math.max(11, Math.min(most - 11, n));
  // At the edge of the photo the plate stands above or below its token.
  const centre: [number, number] = fits ? [wanted[0], wanted[1]]
    : [inside(x * unit[1], width), inside(y * unit[0] + (y * unit[0] < height / 2 ? reach : -reach), height)];
  context.fillStyle = ink;
  context.strokeStyle = "rgb(0 0 0 / .6)";
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(...centre, 9.5, 0, 7);
  context.fill();
  context.stroke();
  context.fillStyle = "#1d1a24";
  context.font = "700 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, centre[0], centre[1] + 0.5);
}

// The finer grid in thin lines, the coarser one in thick ones, and one token of each.
function merged(context: Pen, data: SceneData, width: number, height: number): void {
  const { stages, blocks } = data.manifest;
  const stage = stages[blocks[data.step.block].stage];
  const factor = stage.merge?.factor ?? [1, 1];
  const before = stages[blocks[data.step.block].stage - 1];
  const unit = lens(context, data, before.stride, before.spatial, 4 * factor[1], width, height);
  const lines: Box[] = [];
  const [rows, columns] = [Math.round(height / unit[0]), Math.round(width / unit[1])];
  for (let y = factor[0]; y < rows; y += factor[0]) lines.push([y, 0, y, columns]);
  for (let x = factor[1]; x < columns; x += factor[1]) lines.push([0, x, rows, x]);
  strokeEdges(context, lines, unit, "#fff", 2.5);
  const [y, x] = [rows, columns].map((n, axis) => Math.floor(n / 2 / factor[axis]) * factor[axis]);
  strokeEdges(context, outline(y, x, factor[0], factor[1]), unit, MARK, 3);
}

// Every stage's grid as a mosaic, one beside the other, to one height.
function stages(context: Pen, { manifest, shown }: SceneData, width: number, height: number): void {
  const many = Math.max(1, manifest.stages.length);
  const columns = Math.ceil(Math.sqrt(many));
  const rows = Math.ceil(many / columns);
  const [w, h] = [width / columns, height / rows];
  manifest.stages.forEach(({ spatial }, i) => {
    const small = document.createElement("canvas");
    [small.width, small.height] = [spatial[1], spatial[0]];
    (small.getContext("2d") as Pen).drawImage(shown, 0, 0, spatial[1], spatial[0]);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, (i % columns) * w + 1, Math.floor(i / columns) * h + 1, w - 2, h - 2);
  });
}

// The features after the last block, three of their components as colours.
function answer(context: Pen, { features, seen }: SceneData, width: number, height: number): void {
  if (!features) return photo(context, seen, width, height, false);
  const small = document.createElement("canvas");
  [small.width, small.height] = [features.width, features.height];
  const inner = small.getContext("2d") as Pen;
  const pixels = inner.createImageData(features.width, features.height);
  for (let i = 0; i < features.width * features.height; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = features.data[3 * i + c];
    pixels.data[4 * i + 3] = 255;
  }
  inner.putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, width, height);
  return undefined;
}

// All with all as a square, and what the model weighs as a square within it, to one scale.
function cost(context: Pen, { manifest: { blocks } }: SceneData, width: number, height: number): void {
  const all = blocks.reduce((sum, { prefix, spatial }) => sum + (prefix + spatial[0] * spatial[1]) ** 2, 0);
  const part = Math.sqrt(Math.min(1, blocks.reduce((sum, { pairs }) => sum + pairs, 0) / all));
  const side = Math.min(width, height);
  const [x, y] = [(width - side) / 2, (height - side) / 2];
  context.fillStyle = "rgb(128 122 140 / .35)";
  context.fillRect(x, y, side, side);
  context.fillStyle = css([31, 158, 137]);
  context.fillRect(x, y + side * (1 - part), side * part, side * part);
}
