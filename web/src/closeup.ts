// A group's keys alone, cell by cell: their pixels, their weights, or one head in small.
import type { QueryData } from "./query";
import { colour, inkOn, MARK, type Rgb } from "./draw/colour";
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
export const closeOf = ({ grid, slot, facts, trace }: QueryData): Close =>
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

// One colour a key, as one picture of a pixel a cell; what has none is hatched or dotted afterwards.
const cells = document.createElement("canvas");

function paintCells({ context, table, unit, group }: Sheet, { grid, slot }: Close, values: Float32Array,
  shade: (value: number) => Rgb): void {
  const { rows, columns } = table;
  [cells.width, cells.height] = [columns, rows];
  const pixels = cells.getContext("2d") as CanvasRenderingContext2D;
  const image = pixels.createImageData(columns, rows);
  const bare: number[] = [];
  table.at.forEach((at, key) => {
    if (at < 0) return;
    if (grid.sees(slot, group, key) && (grid.key(group, key) >= 0 || values[key] !== 0)) image.data.set([...shade(values[key]), 255], 4 * at);
    else bare.push(key);
  });
  pixels.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(cells, 0, 0, unit[1] * columns, unit[0] * rows);
  for (const key of bare) {
    fillWith(context, grid.key(group, key) < 0 ? DOTS() : HATCH(), ...cellBox(table.at[key], table, unit));
  }
}

// Keys that lie side by side in the photo as they do in the table: one piece of it.
function wholePart(grid: Grid, group: number, { rows, columns, shape, keyAt: keys, listed }: Table): Box | null {
  const [from, to] = listed || grid.rolls ? [-1, -1] : [keys[0], keys[keys.length - 1]];
  const [first, last] = [from, to].map((key) => (key < 0 || grid.key(group, key) < 0 ? null : grid.box(group, key)));
  if (!first || !last || last[2] - first[0] !== rows * shape[0] || last[3] - first[1] !== columns * shape[1]) return null;
  return [first[0], first[1], last[2], last[3]];
}

export function drawPixels(canvas: HTMLCanvasElement, close: Close, image: ImageBitmap, width: number): void {
  const { grid, stride, input } = close;
  const { context, table, unit, group } = sheet(canvas, close, width);
  const [fy, fx] = [image.height / input[0] * stride[0], image.width / input[1] * stride[1]];
  const whole = wholePart(grid, group, table);
  if (whole) {
    const [y0, x0, y1, x1] = whole;
    const all: Place = [0, 0, unit[1] * table.columns, unit[0] * table.rows];
    fillWith(context, DOTS(), ...all);
    context.drawImage(image, x0 * fx, y0 * fy, (x1 - x0) * fx, (y1 - y0) * fy, ...all);
  } else table.at.forEach((at, key) => {
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
  if (Math.min(...unit) >= 5) strokeEdges(context, tokenLines([table.rows, table.columns]), unit, "rgb(255 255 255 / .35)", 1, [], 0);
  marks(context, close, table, unit, group);
}

export function drawWeights(canvas: HTMLCanvasElement, close: Close, row: Float32Array, most: number, width: number): void {
  const { grid, slot } = close;
  const made = sheet(canvas, close, width);
  const { context, table, unit, group } = made;
  const shade = (weight: number): Rgb => colour(weight / (most || 1));
  paintCells(made, close, row, shade);
  if (Math.min(...unit) >= 19) table.at.forEach((at, key) => {
    const said = at >= 0 && grid.sees(slot, group, key) && (grid.key(group, key) >= 0 || row[key] !== 0);
    if (said) writeWeight(context, row[key], shade(row[key]), cellBox(at, table, unit));
  });
  marks(context, close, table, unit, group);
}

type Place = [x: number, y: number, w: number, h: number];

const cellBox = (at: number, { columns }: Table, unit: Pair): Place =>
  [at % columns * unit[1], Math.floor(at / columns) * unit[0], unit[1] + 0.5, unit[0] + 0.5];

function writeWeight(context: CanvasRenderingContext2D, weight: number, shade: Rgb, [x, y, w, h]: Place): void {
  context.fillStyle = inkOn(shade);
  context.font = `${Math.min(13, w / 2.4)}px system-ui, "DejaVu Sans", sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText((100 * weight).toFixed(weight < 0.0995 ? 1 : 0), x + w / 2, y + h / 2);
}

// Borders between parts that do not see one another, and the query.
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
  shade: (value: number) => Rgb): void {
  const made = sheet(canvas, close, width);
  const { context, table, unit } = made;
  const { grid, slot } = close;
  paintCells(made, close, values, shade);
  const own = grid.ownKey(slot);
  const at = own < 0 ? -1 : table.at[own];
  if (at >= 0) strokeEdges(context, outline(Math.floor(at / table.columns), at % table.columns), unit, MARK, 2, [], 1);
}

export const byWeight = (row: Float32Array): ((value: number) => Rgb) => {
  const most = greatest(row) || 1;
  return (value) => colour(value / most);
};

// The key under a point of a table, given as shares of its height and width; -1 where none is.
export function keyAt(grid: Grid, group: number, [y, x]: Pair): number {
  const { rows, columns, keyAt: keys } = grid.table(group);
  const cell = Math.min(rows - 1, Math.floor(y * rows)) * columns + Math.min(columns - 1, Math.floor(x * columns));
  return keys[cell];
}
