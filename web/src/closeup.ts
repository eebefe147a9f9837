// A group's keys alone, cell by cell: their pixels, their weights, or one head in small.
import type { Answered } from "./asked";
import { colour, css, inkOn, MARK } from "./draw/colour";
import { DOTS, fillWith, HATCH } from "./draw/hatch";
import { greatest, outline, pen, strokeEdges } from "./draw/heat";
import type { Box, Grid, Pair, Table } from "./grid";
import { tokenLines } from "./scene";

export interface Close {
  grid: Grid;
  slot: number;
  stride: readonly number[];
  input: readonly number[];
}
export const closeOf = ({ grid, slot, facts, trace }: Answered): Close =>
  ({ grid, slot, stride: facts.stride, input: trace.manifest.photo.input });

interface Sheet { context: CanvasRenderingContext2D; table: Table; unit: Pair; group: number }

// Size the canvas for the table of keys, `width` CSS pixels wide at most, and no higher than that.
function sheet(canvas: HTMLCanvasElement, { grid, slot, stride }: Close, width: number): Sheet {
  const group = grid.group(slot);
  const table = grid.table(group);
  const [tall, wide] = [table.shape[0] * stride[0], table.shape[1] * stride[1]];
  const scale = Math.min(width / (table.columns * wide), width * 1.15 / (table.rows * tall));
  const unit: Pair = [tall * scale, wide * scale];
  canvas.style.width = `${unit[1] * table.columns}px`;
  canvas.style.height = `${unit[0] * table.rows}px`;
  return { context: pen(canvas, unit[1] * table.columns, unit[0] * table.rows), table, unit, group };
}

export function drawPixels(canvas: HTMLCanvasElement, close: Close, image: ImageBitmap, width: number): void {
  const { grid, stride, input } = close;
  const { context, table, unit, group } = sheet(canvas, close, width);
  const [fy, fx] = [image.height / input[0] * stride[0], image.width / input[1] * stride[1]];
  table.at.forEach((at, key) => {
    if (at < 0) return;
    const cell = cellBox(at, table, unit);
    const token = grid.key(group, key);
    const box = grid.box(group, key);
    if (token < 0) return fillWith(context, DOTS(), ...cell);
    if (grid.isPrefix(token) || !box) { context.fillStyle = "#77727f"; return context.fillRect(...cell); }
    fillWith(context, DOTS(), ...cell); // what lies at the edge may be partly outside the photo
    const [y0, x0, y1, x1] = box;
    return context.drawImage(image, x0 * fx, y0 * fy, (x1 - x0) * fx, (y1 - y0) * fy, ...cell);
  });
  strokeEdges(context, tokenLines([table.rows, table.columns]), unit, "rgb(255 255 255 / .35)", 1, [], 0);
  marks(context, close, table, unit, group);
}

export function drawWeights(canvas: HTMLCanvasElement, close: Close, row: Float32Array, most: number, width: number): void {
  const { grid, slot } = close;
  const { context, table, unit, group } = sheet(canvas, close, width);
  table.at.forEach((at, key) => {
    if (at < 0) return;
    const cell = cellBox(at, table, unit);
    const standing = grid.standing(slot, key);
    if (standing === "masked") fillWith(context, grid.key(group, key) < 0 ? DOTS() : HATCH(), ...cell);
    else if (standing === "padding" && row[key] === 0) fillWith(context, DOTS(), ...cell);
    else drawWeight(context, row[key], most, cell);
  });
  marks(context, close, table, unit, group);
}

const cellBox = (at: number, { columns }: Table, unit: Pair): [number, number, number, number] =>
  [at % columns * unit[1], Math.floor(at / columns) * unit[0], unit[1] + 0.5, unit[0] + 0.5];

type Place = [x: number, y: number, w: number, h: number];

function drawWeight(context: CanvasRenderingContext2D, weight: number, most: number, [x, y, w, h]: Place): void {
  const shade = colour(weight / (most || 1));
  context.fillStyle = css(shade);
  context.fillRect(x, y, w, h);
  if (Math.min(w, h) < 19) return;
  context.fillStyle = inkOn(shade);
  context.font = `${Math.min(13, w / 2.4)}px system-ui, "DejaVu Sans", sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText((100 * weight).toFixed(weight < 0.0995 ? 1 : 0), x + w / 2, y + h / 2);
}

// Borders between parts that do not see one another, and the asking token.
function marks(context: CanvasRenderingContext2D, { grid, slot }: Close, table: Table, unit: Pair, group: number): void {
  strokeEdges(context, partEdges(grid, group, table), unit, "#fff", 2);
  const own = grid.ownKey(slot);
  const at = own < 0 ? -1 : table.at[own];
  if (at >= 0) strokeEdges(context, outline(Math.floor(at / table.columns), at % table.columns), unit, MARK, 3);
}

function partEdges(grid: Grid, group: number, { rows, columns, keyAt, listed }: Table): Box[] {
  const edges: Box[] = [];
  if (listed) return edges;
  const label = (y: number, x: number): number | null => {
    const key = keyAt[y * columns + x];
    return key < 0 ? null : grid.region(group, key);
  };
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      if (x + 1 < columns && label(y, x) !== label(y, x + 1)) edges.push([y, x + 1, y + 1, x + 1]);
      if (y + 1 < rows && label(y, x) !== label(y + 1, x)) edges.push([y + 1, x, y + 1, x + 1]);
    }
  }
  return edges;
}

// A head in small: the colour of each key, one cell each; what may not be seen is hatched.
export function drawSmall(canvas: HTMLCanvasElement, close: Close, values: Float32Array, width: number,
  shade: (value: number) => [number, number, number]): void {
  const { grid, slot } = close;
  const { context, table, unit, group } = sheet(canvas, close, width);
  table.at.forEach((at, key) => {
    if (at < 0) return;
    const cell = cellBox(at, table, unit);
    if (grid.sees(slot, group, key) && (grid.key(group, key) >= 0 || values[key] !== 0)) {
      context.fillStyle = css(shade(values[key]));
      context.fillRect(...cell);
    } else fillWith(context, grid.key(group, key) < 0 ? DOTS() : HATCH(), ...cell);
  });
  const own = grid.ownKey(slot);
  const at = own < 0 ? -1 : table.at[own];
  if (at >= 0) strokeEdges(context, outline(Math.floor(at / table.columns), at % table.columns), unit, MARK, 2, [], 1);
}

export const byWeight = (row: Float32Array): ((value: number) => [number, number, number]) => {
  const most = greatest(row) || 1;
  return (value) => colour(value / most);
};

// The key under a point of a table, given as shares of its height and width; -1 where none is.
export function keyAt(grid: Grid, group: number, [y, x]: Pair): number {
  const { rows, columns, keyAt: keys } = grid.table(group);
  const cell = Math.min(rows - 1, Math.floor(y * rows)) * columns + Math.min(columns - 1, Math.floor(x * columns));
  return keys[cell];
}
