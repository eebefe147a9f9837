// Which tokens may attend to which in a block, straight from the arrays of the trace. A group's queries and keys are
// token numbers (-1: padding): prefix tokens first, then the grid row by row, then pooled keys, whose
// boxes say which tokens they stand for. A query sees the keys of its group that carry its label.
import type { TraceView } from "./trace";

export interface Groups {
  rows: number;
  columns: number;
  prefix: number;
  total: number; // prefix tokens and grid
  groups: number;
  queriesPerGroup: number;
  keysPerGroup: number;
  queries: Int32Array;
  keys: Int32Array;
  queryLabels: Int32Array | null;
  keyLabels: Int32Array | null;
  boxes: Int32Array | null; // first and past-last row, then first and past-last column
  slotOf: Int32Array; // the place among the queries of each token
}

const known = new WeakMap<TraceView, Map<number, Promise<Groups>>>();

// The groups of a block, read once.
export function groupsOf(trace: TraceView, block: number): Promise<Groups> {
  const mine = known.get(trace) ?? new Map<number, Promise<Groups>>();
  known.set(trace, mine);
  const found = mine.get(block) ?? read(trace, block);
  mine.set(block, found);
  found.catch(() => mine.delete(block));
  return found;
}

async function read(trace: TraceView, block: number): Promise<Groups> {
  const facts = trace.manifest.blocks[block];
  const { queries, keys, query_regions, key_regions, boxes } = facts;
  const load = async (name: string | null): Promise<Int32Array | null> =>
    name === null ? null : (await trace.array(name)).data as Int32Array;
  const [q, k, queryLabels, keyLabels, places] = await Promise.all([queries, keys, query_regions, key_regions, boxes].map(load));
  const [rows, columns] = facts.spatial;
  const total = facts.prefix + rows * columns;
  const slotOf = new Int32Array(total).fill(-1);
  (q as Int32Array).forEach((token, slot) => { if (token >= 0) slotOf[token] = slot; });
  return {
    rows, columns, prefix: facts.prefix, total, slotOf, queryLabels, keyLabels, boxes: places,
    groups: facts.groups, queriesPerGroup: facts.queries_per_group, keysPerGroup: facts.keys_per_group,
    queries: q as Int32Array, keys: k as Int32Array,
  };
}

// May the query in a place see the key in another one of the same group?
export const sees = ({ queryLabels, keyLabels }: Groups, slot: number, key: number): boolean =>
  !queryLabels || !keyLabels || queryLabels[slot] === keyLabels[key];

// The tokens [y0, x0, y1, x1] that a key stands for; null for padding and prefix tokens.
export function boxOf({ keys, boxes, prefix, columns, total }: Groups, key: number): [number, number, number, number] | null {
  const token = keys[key];
  if (token < prefix) return null;
  if (token < total) {
    const [y, x] = [Math.floor((token - prefix) / columns), (token - prefix) % columns];
    return [y, x, y + 1, x + 1];
  }
  return boxes && [boxes[4 * key], boxes[4 * key + 2], boxes[4 * key + 1], boxes[4 * key + 3]];
}
