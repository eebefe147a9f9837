// Painting a block's tokens over the photo. The picture is a torus where the block rolls its grid:
// everything that belongs to the photo moves together, and what leaves at one edge comes back.
import type { Box, Grid, Pair } from "./grid";
import { colour, MARK } from "./draw/colour";
import { DOTS, HATCH } from "./draw/hatch";
import { pen } from "./draw/heat";

const DARK = "rgb(0 0 0 / .55)";

// Where the picture lies on the canvas: CSS pixels per token, and the token at its top left corner.
export interface Camera {
  width: number;
  height: number;
  unit: Pair;
  origin: Pair;
  roll: number; // share of the shift that is rolled, 0 to 1
}

export interface QueryRow {
  slot: number;
  row: Float32Array; // weight of every key of the group
  most: number; // the weight of the brightest colour
}

export interface Scene {
  grid: Grid;
  block: number;
  photo: ImageBitmap | HTMLCanvasElement;
  pixelated: boolean;
  extent: Pair; // the photo's height and width in tokens
  queryRow: QueryRow | null;
  strength: number; // opacity of the heat
  key: number; // the key that is pointed at, or -1
}

type Pen = CanvasRenderingContext2D;

export function fillPath(context: Pen, tile: CanvasImageSource, path: Path2D): void {
  const pattern = context.createPattern(tile, "repeat");
  if (!pattern) return;
  context.fillStyle = pattern;
  context.fill(path);
}

export function linePath(edges: Iterable<Box>): Path2D {
  const path = new Path2D();
  for (const [y0, x0, y1, x1] of edges) { path.moveTo(x0, y0); path.lineTo(x1, y1); }
  return path;
}

export function boxPath(boxes: Iterable<Box>): Path2D {
  const path = new Path2D();
  for (const [y0, x0, y1, x1] of boxes) path.rect(x0, y0, x1 - x0, y1 - y0);
  return path;
}

export interface Line { ink: string; width: number; dash?: number[]; halo?: number }

// A line that shows on light and on dark: `ink` over a dark halo.
export function strokePath(context: Pen, path: Path2D, { ink, width, dash = [], halo = 2 }: Line): void {
  context.lineCap = dash.length ? "butt" : "square";
  context.setLineDash([]);
  context.strokeStyle = DARK;
  context.lineWidth = width + halo;
  if (halo) context.stroke(path);
  context.setLineDash(dash);
  context.strokeStyle = ink;
  context.lineWidth = width;
  context.stroke(path);
  context.setLineDash([]);
}

interface Marks {
  heat: HTMLCanvasElement;
  masked: Path2D;
  pooled: Path2D | null;
  seams: Box[];
  own: Box[];
  self: Path2D | null;
}

export class Painter {
  private still: HTMLCanvasElement | null = null;
  private stillName = "";
  private readonly heat = document.createElement("canvas");
  private marks: Marks | null = null;
  private marksOf: QueryRow | null = null;
  private marksStrength = -1;
  private borderPaths = new WeakMap<Grid, { borders: Path2D; before: Path2D }>();

  paint(canvas: HTMLCanvasElement, scene: Scene, camera: Camera): void {
    const context = pen(canvas, camera.width, camera.height);
    const copies = this.copies(scene.grid, camera);
    this.background(context, scene, camera, copies);
    if (!scene.queryRow) return;
    const marks = this.marksFor(scene, scene.queryRow);
    context.save();
    this.clip(context, scene.grid, camera);
    for (const at of copies) this.overlay(context, scene, scene.queryRow, marks, camera, at);
    context.restore();
  }

  // Where the picture's corner lies, in CSS pixels, for each copy of it that can be seen.
  private copies(grid: Grid, { unit, origin, roll }: Camera): Pair[] {
    const starts = ([0, 1] as const).map((axis) => {
      const moved = roll * grid.shift[axis];
      const places = moved > 0 ? [-moved, grid.padded[axis] - moved] : [0];
      return places.map((from) => (from - origin[axis]) * unit[axis]);
    });
    return starts[0].flatMap((y) => starts[1].map((x): Pair => [y, x]));
  }

  private clip(context: Pen, grid: Grid, { unit, origin }: Camera): void {
    context.beginPath();
    context.rect(-origin[1] * unit[1], -origin[0] * unit[0], grid.padded[1] * unit[1], grid.padded[0] * unit[0]);
    context.clip();
  }

  // Photo, padding, tokens and borders. At rest and not enlarged they are painted once and moved.
  private background(context: Pen, scene: Scene, camera: Camera, copies: Pair[]): void {
    const { grid } = scene;
    const whole = Math.abs(grid.padded[1] * camera.unit[1] - camera.width) < 1;
    context.save();
    this.clip(context, grid, camera);
    if (whole) {
      const still = this.stillFor(scene, camera);
      for (const [y, x] of copies) context.drawImage(still, x, y, camera.width, camera.height);
    } else {
      for (const at of copies) this.ground(context, scene, camera, at);
    }
    const before = this.pathsFor(grid).before;
    const corner: Pair = [-camera.origin[0] * camera.unit[0], -camera.origin[1] * camera.unit[1]];
    const fixed = transformed(before, camera.unit, corner);
    strokePath(context, fixed, { ink: MARK, width: 1, dash: [2, 4], halo: 0 });
    context.restore();
  }

  private stillFor(scene: Scene, camera: Camera): HTMLCanvasElement {
    const name = [scene.block, camera.width, camera.height, scene.pixelated, scene.photo.width, globalThis.devicePixelRatio].join();
    if (!this.still || this.stillName !== name) {
      this.still ??= document.createElement("canvas");
      this.ground(pen(this.still, camera.width, camera.height), scene, camera, [0, 0]);
      this.stillName = name;
    }
    return this.still;
  }

  private ground(context: Pen, scene: Scene, { unit }: Camera, [top, left]: Pair): void {
    const { grid, extent } = scene;
    const [high, wide] = [grid.padded[0] * unit[0], grid.padded[1] * unit[1]];
    const rect = (...box: Box): Path2D => transformed(boxPath([box]), unit, [top, left]);
    const lines = (path: Path2D, line: Line): void => strokePath(context, transformed(path, unit, [top, left]), line);
    context.save();
    context.beginPath();
    context.rect(left, top, wide, high);
    context.clip();
    if (extent[0] < grid.padded[0] || extent[1] < grid.padded[1]) fillPath(context, DOTS(), rect(0, 0, ...grid.padded));
    context.imageSmoothingEnabled = !scene.pixelated;
    context.imageSmoothingQuality = "high";
    context.drawImage(scene.photo, left, top, extent[1] * unit[1], extent[0] * unit[0]);
    // A token at the edge may be partly photo; what lies outside every token is padding.
    if (grid.padded[0] > grid.rows) fillPath(context, DOTS(), rect(grid.rows, 0, ...grid.padded));
    if (grid.padded[1] > grid.columns) fillPath(context, DOTS(), rect(0, grid.columns, ...grid.padded));
    if (Math.min(...unit) >= 7) lines(linePath(tokenLines(grid.padded)), { ink: "rgb(255 255 255 / .2)", width: 1, halo: 0 });
    lines(this.pathsFor(grid).borders, { ink: "rgb(255 255 255 / .85)", width: 1, halo: 1 });
    context.restore();
  }

  private pathsFor(grid: Grid): { borders: Path2D; before: Path2D } {
    let paths = this.borderPaths.get(grid);
    if (!paths) {
      paths = { borders: linePath(grid.borders()), before: linePath(grid.unshifted()) };
      this.borderPaths.set(grid, paths);
    }
    return paths;
  }

  private marksFor(scene: Scene, queryRow: QueryRow): Marks {
    if (this.marks && this.marksOf === queryRow && this.marksStrength === scene.strength) return this.marks;
    const { grid } = scene;
    const group = grid.group(queryRow.slot);
    const { cover, first, cells, pooled } = grid.spots(group);
    const at = (y: number, x: number): number => cover[y * grid.padded[1] + x];
    const key = (y: number, x: number): number => first[at(y, x)];
    const part = (y: number, x: number): unknown => (at(y, x) < 0 ? null : grid.region(group, key(y, x)));
    const seen = cells.filter(([y, x]) => grid.sees(queryRow.slot, group, key(y, x)));
    const masked = cells.filter(([y, x]) => grid.key(group, key(y, x)) >= 0 && !grid.sees(queryRow.slot, group, key(y, x)));
    const own = grid.place(queryRow.slot);
    this.paintHeat(scene, queryRow);
    this.marks = {
      heat: this.heat,
      masked: boxPath(masked.map(([y, x]): Box => [y, x, y + 1, x + 1])),
      pooled: pooled ? linePath(grid.edges(at, cells)) : null,
      seams: seen.length < cells.length ? grid.edges(part, cells) : [],
      own: grid.edges(part, seen),
      self: own && boxPath([[own[0], own[1], own[0] + 1, own[1] + 1]]),
    };
    [this.marksOf, this.marksStrength] = [queryRow, scene.strength];
    return this.marks;
  }

  // One pixel a cell: the colour of its keys' weight, and a shade over all that is no key.
  private paintHeat({ grid, strength }: Scene, queryRow: QueryRow): void {
    const group = grid.group(queryRow.slot);
    const { cover, first } = grid.spots(group);
    const sums = spotWeights(grid, group, queryRow.row);
    const [high, wide] = grid.padded;
    if (this.heat.width !== wide) this.heat.width = wide;
    if (this.heat.height !== high) this.heat.height = high;
    const context = this.heat.getContext("2d") as Pen;
    const image = context.createImageData(wide, high);
    const pixels = new Uint32Array(image.data.buffer);
    const inks = Uint32Array.from(sums, (weight, spot) => {
      if (!grid.sees(queryRow.slot, group, first[spot])) return 0;
      if (grid.key(group, first[spot]) < 0 && weight === 0) return 0;
      const [r, g, b] = colour(weight / (queryRow.most || 1));
      return ((Math.round(255 * strength) << 24) | (b << 16) | (g << 8) | r) >>> 0;
    });
    const shade = ((Math.round(255 * 0.34) << 24) | (18 << 16) | (10 << 8) | 12) >>> 0;
    for (let cell = 0; cell < pixels.length; cell++) {
      const spot = cover[cell];
      pixels[cell] = spot < 0 ? shade : inks[spot];
    }
    context.putImageData(image, 0, 0);
  }

  private overlay(context: Pen, { grid, key }: Scene, queryRow: QueryRow, marks: Marks, { unit, origin, roll }: Camera, at: Pair): void {
    const [top, left] = at;
    const group = grid.group(queryRow.slot);
    context.imageSmoothingEnabled = false;
    context.drawImage(marks.heat, left, top, grid.padded[1] * unit[1], grid.padded[0] * unit[0]);
    const placed = (path: Path2D): Path2D => transformed(path, unit, [top, left]);
    fillPath(context, HATCH(), placed(marks.masked));
    if (marks.pooled) strokePath(context, placed(marks.pooled), { ink: "rgb(255 255 255 / .4)", width: 1, halo: 0 });
    const start: Pair = [Math.round(top / unit[0] + origin[0]), Math.round(left / unit[1] + origin[1])];
    const framed = (edges: Box[]): Path2D => placed(linePath(roll === 0 || roll === 1 ? atFrame(edges, grid, group, start) : edges));
    strokePath(context, framed(marks.seams), { ink: "#fff", width: 2, dash: [5, 4] });
    strokePath(context, framed(marks.own), { ink: "#fff", width: 3 });
    if (key >= 0) {
      const box = grid.box(group, key);
      if (box) strokePath(context, placed(boxPath([box])), { ink: "#fff", width: 2, dash: [3, 2] });
    }
    if (marks.self) strokePath(context, placed(marks.self), { ink: MARK, width: 3 });
  }
}

// On a torus a border at the picture's edge lies at both ends of it: keep it where a key touches it.
// `start` is the place of the picture's corner, in tokens.
function atFrame(edges: Box[], grid: Grid, group: number, start: Pair): Box[] {
  const { cover } = grid.spots(group);
  const [high, wide] = grid.padded;
  const held = (y: number, x: number): boolean => cover[((y + high) % high) * wide + (x + wide) % wide] >= 0;
  return edges.filter(([y0, x0, y1, x1]) => {
    if (y0 === y1) {
      const at = y0 + start[0];
      return at !== 0 && at !== high || held(at ? y0 - 1 : y0, x0);
    }
    const at = x0 + start[1];
    return at !== 0 && at !== wide || held(y0, at ? x1 - 1 : x1);
  });
}

// The weight of every spot: of all keys that lie there.
export function spotWeights(grid: Grid, group: number, row: Float32Array): Float64Array {
  const { boxes, spotOf } = grid.spots(group);
  const sums = new Float64Array(boxes.length);
  spotOf.forEach((spot, key) => { if (spot >= 0) sums[spot] += row[key]; });
  return sums;
}

// A path in tokens, in CSS pixels.
export function transformed(path: Path2D, unit: Pair, [top, left]: Pair): Path2D {
  const placed = new Path2D();
  placed.addPath(path, new DOMMatrix([unit[1], 0, 0, unit[0], left, top]));
  return placed;
}

export function tokenLines([rows, columns]: Pair): Box[] {
  const lines: Box[] = [];
  for (let y = 1; y < rows; y++) lines.push([y, 0, y, columns]);
  for (let x = 1; x < columns; x++) lines.push([0, x, rows, x]);
  return lines;
}
