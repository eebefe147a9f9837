// Which queries meet which keys in a block, and where they lie in the photo. Everything follows from
// the arrays of the trace; no kind of attention is known here by name.
import type { Block } from "./rows";

export type Pair = [number, number];
export type Box = [y0: number, x0: number, y1: number, x1: number];

// Arrays of a block, for every place of every group in turn. `queries` and `keys` hold token numbers
// (-1: padding): prefix tokens first, then the grid row by row, then pooled keys. A query may see the
// keys of its group that carry an equal label; without labels, all of them. `boxes` hold the tokens
// that each pooled key stands for: first and past-last row, then first and past-last column.
export interface GridArrays {
  queries: Int32Array;
  keys: Int32Array;
  queryRegions: Int32Array | null;
  keyRegions: Int32Array | null;
  boxes: Int32Array | null;
}

interface Form {
  cut: { window: Pair; shift: Pair } | null;
  groups: number;
  queriesPerGroup: number; // queries of a group
  keysPerGroup: number; // keys of a group
}

// Of a group: which cells its keys cover. Keys of one place share a spot; where spots overlap, the
// smallest lies on top, and `cover` names each cell's spot (-1: no key lies there).
export interface Spots {
  boxes: Box[];
  spotOf: Int32Array;
  cover: Int32Array;
  first: Int32Array; // one key of each spot
  cells: Pair[];
  pooled: boolean;
}

// How a group's keys are laid out on their own: each key's cell (-1: none), each cell's key (-1).
export interface Table {
  rows: number;
  columns: number;
  shape: Pair;
  at: Int32Array;
  keyAt: Int32Array;
  listed: boolean;
}

export type Standing = "seen" | "masked" | "padding";

// Groups that are remembered: neighbours of the pointer, not all of a large image.
const REMEMBERED = 24;

export class Grid {
  readonly rows: number;
  readonly columns: number;
  readonly prefix: number;
  readonly total: number; // tokens: prefix, then grid
  readonly padded: Pair;
  readonly shift: Pair;
  readonly slotOf: Int32Array; // of each token, its place in `queries`
  readonly arrays: GridArrays & Form;
  private readonly remembered = new Map<string, Spots | Table>();

  constructor(block: Block, arrays: GridArrays) {
    const cut = block.cut && { window: pair(block.cut.window), shift: pair(block.cut.shift) };
    this.arrays = { ...arrays, cut, groups: block.groups, queriesPerGroup: block.queries_per_group, keysPerGroup: block.keys_per_group };
    [this.rows, this.columns] = block.spatial;
    this.prefix = block.prefix;
    this.total = this.prefix + this.rows * this.columns;
    this.shift = cut ? cut.shift : [0, 0];
    this.padded = cut ? [up(this.rows, cut.window[0]), up(this.columns, cut.window[1])] : [this.rows, this.columns];
    this.slotOf = new Int32Array(this.total).fill(-1);
    arrays.queries.forEach((token, slot) => { if (token >= 0) this.slotOf[token] = slot; });
  }

  get queries(): Int32Array { return this.arrays.queries; }
  get keys(): Int32Array { return this.arrays.keys; }
  get boxes(): Int32Array | null { return this.arrays.boxes; }
  get queriesPerGroup(): number { return this.arrays.queriesPerGroup; }
  get keysPerGroup(): number { return this.arrays.keysPerGroup; }
  get rolls(): boolean { return this.shift[0] > 0 || this.shift[1] > 0; }

  isPrefix(token: number): boolean { return token >= 0 && token < this.prefix; }
  isToken(token: number): boolean { return token >= 0 && token < this.total; }
  group(slot: number): number { return Math.floor(slot / this.queriesPerGroup); }
  member(group: number, key: number): number { return group * this.keysPerGroup + key; }
  key(group: number, key: number): number { return this.keys[this.member(group, key)]; }
  tokenAt(y: number, x: number): number { return this.prefix + y * this.columns + x; }

  position(token: number): Pair {
    const place = token - this.prefix;
    return [Math.floor(place / this.columns), place % this.columns];
  }

  // Row and column, on the padded grid, of a place in a cut; elsewhere only tokens have a place.
  place(slot: number): Pair | null {
    const { cut, queriesPerGroup, queries } = this.arrays;
    if (!cut) return queries[slot] < this.prefix ? null : this.position(queries[slot]);
    const [high, wide] = cut.window;
    const across = this.padded[1] / wide;
    const [group, key] = [Math.floor(slot / queriesPerGroup), slot % queriesPerGroup];
    const y = Math.floor(group / across) * high + Math.floor(key / wide);
    const x = (group % across) * wide + (key % wide);
    return [(y + this.shift[0]) % this.padded[0], (x + this.shift[1]) % this.padded[1]];
  }

  // The query that lies at a row and column of the padded grid, or -1 outside.
  slotAt(y: number, x: number): number {
    const { cut, queriesPerGroup } = this.arrays;
    if (y < 0 || x < 0 || y >= this.padded[0] || x >= this.padded[1]) return -1;
    if (!cut) return this.slotOf[this.tokenAt(y, x)];
    const [high, wide] = cut.window;
    const v = (y - this.shift[0] + this.padded[0]) % this.padded[0];
    const h = (x - this.shift[1] + this.padded[1]) % this.padded[1];
    const group = Math.floor(v / high) * (this.padded[1] / wide) + Math.floor(h / wide);
    return group * queriesPerGroup + (v % high) * wide + (h % wide);
  }

  sees(slot: number, group: number, key: number): boolean {
    const { queryRegions, keyRegions } = this.arrays;
    return !queryRegions || !keyRegions || queryRegions[slot] === keyRegions[this.member(group, key)];
  }

  standing(slot: number, key: number): Standing {
    const group = this.group(slot);
    if (!this.sees(slot, group, key)) return "masked";
    return this.key(group, key) < 0 ? "padding" : "seen";
  }

  region(group: number, key: number): number {
    return this.arrays.keyRegions ? this.arrays.keyRegions[this.member(group, key)] : 0;
  }

  regionOf(slot: number): number { return this.arrays.queryRegions ? this.arrays.queryRegions[slot] : 0; }

  // The labels of a group's keys in order: parts that do not see one another.
  parts(group: number): number[] {
    const labels = new Set<number>();
    for (let key = 0; key < this.keysPerGroup; key++) {
      if (this.key(group, key) >= 0) labels.add(this.region(group, key));
    }
    return [...labels];
  }

  // The tokens that a key stands for, on the padded grid; null where it has no place.
  box(group: number, key: number): Box | null {
    const [member, { cut, boxes }] = [this.member(group, key), this.arrays];
    if (cut) return cell(this.place(member)); // in a cut, every group's keys are its queries
    const token = this.keys[member];
    if (token < this.prefix) return null;
    if (token < this.total) return cell(this.position(token));
    return boxes && [boxes[4 * member], boxes[4 * member + 2], boxes[4 * member + 1], boxes[4 * member + 3]];
  }

  // The key of a group that is the query itself, or -1.
  ownKey(slot: number): number {
    const start = this.member(this.group(slot), 0);
    return this.keys.subarray(start, start + this.keysPerGroup).indexOf(this.queries[slot]);
  }

  spots(group: number): Spots { return this.remember(`spots ${group}`, () => this.findSpots(group)); }
  table(group: number): Table { return this.remember(`table ${group}`, () => this.findTable(group)); }

  private remember<T extends Spots | Table>(name: string, find: () => T): T {
    const known = this.remembered.get(name);
    if (known) return known as T;
    if (this.remembered.size >= REMEMBERED) this.remembered.clear();
    const found = find();
    this.remembered.set(name, found);
    return found;
  }

  private findSpots(group: number): Spots {
    const [boxes, first, known] = [[] as Box[], [] as number[], new Map<string, number>()];
    const spotOf = new Int32Array(this.keysPerGroup).fill(-1);
    for (let key = 0; key < this.keysPerGroup; key++) {
      const box = this.box(group, key);
      if (!box) continue;
      const name = box.join();
      let spot = known.get(name);
      if (spot === undefined) {
        spot = boxes.push(box) - 1;
        known.set(name, spot);
        first.push(key);
      }
      spotOf[key] = spot;
    }
    const wide = this.padded[1];
    const cover = new Int32Array(this.padded[0] * wide).fill(-1);
    const order = boxes.map((_, spot) => spot).sort((a, b) => area(boxes[b]) - area(boxes[a]));
    for (const spot of order) {
      const [y0, x0, y1, x1] = boxes[spot];
      for (let y = y0; y < y1; y++) cover.fill(spot, y * wide + x0, y * wide + x1);
    }
    const cells: Pair[] = [];
    cover.forEach((spot, at) => { if (spot >= 0) cells.push([Math.floor(at / wide), at % wide]); });
    const pooled = boxes.some((box) => area(box) > 1);
    return { boxes, spotOf, cover, cells, first: Int32Array.from(first), pooled };
  }

  // As the window that the keys are, as the rectangle that their places form, or as an even list.
  private findTable(group: number): Table {
    const { cut, keysPerGroup } = this.arrays;
    const side = Math.ceil(Math.sqrt(keysPerGroup));
    const even = (rows: number, columns: number, listed: boolean): Omit<Table, "keyAt"> =>
      ({ rows, columns, shape: [1, 1], at: Int32Array.from({ length: keysPerGroup }, (_, key) => key), listed });
    const found = cut ? even(cut.window[0], cut.window[1], false)
      : this.rectangle(group) ?? even(Math.ceil(keysPerGroup / side), side, true);
    const keyAt = new Int32Array(found.rows * found.columns).fill(-1);
    found.at.forEach((at, key) => { if (at >= 0) keyAt[at] = key; });
    return { ...found, keyAt };
  }

  private rectangle(group: number): Omit<Table, "keyAt"> | null {
    const boxes = Array.from({ length: this.keysPerGroup }, (_, key) => this.box(group, key));
    const placed = boxes.filter((box): box is Box => box !== null);
    const starts = (axis: number): number[] => [...new Set(placed.map((box) => box[axis]))].sort((a, b) => a - b);
    const [ys, xs] = [starts(0), starts(1)];
    const [rows, columns] = [ys.length, xs.length];
    const lean = Math.max(rows, columns) > 4 * Math.min(rows, columns);
    if (!placed.length || placed.length !== rows * columns || lean) return null;
    const [rowOf, columnOf] = [ys, xs].map((list) => new Map(list.map((from, i) => [from, i])));
    const cellOf = (box: Box): number => (rowOf.get(box[0]) as number) * columns + (columnOf.get(box[1]) as number);
    const at = Int32Array.from(boxes, (box) => (box ? cellOf(box) : -1));
    if (new Set(at.filter((place) => place >= 0)).size !== placed.length) return null;
    const [y0, x0, y1, x1] = placed[0];
    return { rows, columns, shape: [y1 - y0, x1 - x0], at, listed: false };
  }

  // Edges [y0, x0, y1, x1] between neighbouring cells whose `name(y, x)` differs, straight ones
  // joined. Where the grid rolls along an axis, its last line neighbours its first.
  edges(name: (y: number, x: number) => unknown, cells?: Pair[]): Box[] {
    const [high, wide] = this.padded;
    const at = (y: number, x: number): unknown => {
      if (!this.rolls || this.shift[0] === 0) if (y < 0 || y >= high) return OUTSIDE;
      if (!this.rolls || this.shift[1] === 0) if (x < 0 || x >= wide) return OUTSIDE;
      return name((y + high) % high, (x + wide) % wide);
    };
    const [flat, upright] = [new Set<number>(), new Set<number>()];
    const look = (y: number, x: number): void => {
      const here = at(y, x);
      if (at(y - 1, x) !== here) flat.add(y * (wide + 1) + x);
      if (at(y + 1, x) !== here) flat.add((y + 1) * (wide + 1) + x);
      if (at(y, x - 1) !== here) upright.add(x * (high + 1) + y);
      if (at(y, x + 1) !== here) upright.add((x + 1) * (high + 1) + y);
    };
    if (cells) for (const [y, x] of cells) look(y, x);
    else for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) look(y, x);
    return [
      ...joined(flat, wide + 1).map(([y, from, to]): Box => [y, from, y, to]),
      ...joined(upright, high + 1).map(([x, from, to]): Box => [from, x, to, x]),
    ];
  }

  // The borders between groups, or none where groups are too scattered for borders to mean anything.
  borders(): Box[] {
    const { cut, groups } = this.arrays;
    if (cut) return this.lines(this.shift, cut.window);
    const edges = groups > 1 ? this.edges((y, x) => this.group(this.slotAt(y, x))) : [];
    const length = edges.reduce((sum, [y0, x0, y1, x1]) => sum + y1 - y0 + x1 - x0, 0);
    return length > 1.5 * this.rows * this.columns ? [] : edges;
  }

  // Where a cut without a shift would lie: the borders of the block before.
  unshifted(): Box[] {
    const { cut } = this.arrays;
    return cut && this.rolls ? this.lines(cut.window, cut.window) : [];
  }

  private lines(from: Pair, window: Pair): Box[] {
    const [high, wide] = this.padded;
    const found: Box[] = [];
    for (let y = from[0] % high; y <= high; y += window[0]) found.push([y, 0, y, wide]);
    for (let x = from[1] % wide; x <= wide; x += window[1]) found.push([0, x, high, x]);
    return found;
  }
}

const OUTSIDE = Symbol("outside");
const pair = ([first, second]: number[]): Pair => [first, second];
const up = (n: number, m: number): number => Math.ceil(n / m) * m;
const area = ([y0, x0, y1, x1]: Box): number => (y1 - y0) * (x1 - x0);
const cell = (place: Pair | null): Box | null => place && [place[0], place[1], place[0] + 1, place[1] + 1];

// Runs [line, from, to] of numbers that stand for `line * across + place`.
function joined(marks: Set<number>, across: number): [number, number, number][] {
  const runs: [number, number, number][] = [];
  let last = -2;
  for (const mark of [...marks].sort((a, b) => a - b)) {
    const run = runs[runs.length - 1];
    if (run && mark === last + 1 && run[0] === Math.floor(mark / across)) run[2] += 1;
    else runs.push([Math.floor(mark / across), mark % across, (mark % across) + 1]);
    last = mark;
  }
  return runs;
}
