// Rollout through a hierarchy, as vitrail.explain.rollout defines it: the row of one token is pulled
// back block by block, r <- (1 - a) r + a r A, never N x N. A is the mean of the heads.
import type { Grid } from "./grid";
import { decodeRow, type Map2d } from "./rows";
import type { Manifest } from "./schema";
import type { ArrayData } from "./source";

export const RESIDUAL = 0.5; // what a token keeps of itself in each block

export interface StageRow extends Map2d { stage: number }

// What rollout reads of a trace.
interface Blocks {
  manifest: Manifest;
  block(index: number): { load(): Promise<Grid> };
  array(name: string): Promise<ArrayData>;
}

function pull(r: Float64Array, grid: Grid, codes: Uint8Array): Float64Array {
  const next = new Float64Array(r.length);
  for (let slot = 0; slot < grid.queries.length; slot++) {
    const token = grid.queries[slot];
    if (token < 0 || r[token] === 0) continue;
    const start = grid.group(slot) * grid.keysPerGroup;
    const row = decodeRow(codes, slot * grid.keysPerGroup, grid.keysPerGroup);
    let real = 0; // padding is no token: the rest counts as the whole
    for (let key = 0; key < grid.keysPerGroup; key++) if (grid.keys[start + key] >= 0) real += row[key];
    if (real === 0) continue;
    const scale = (1 - RESIDUAL) * r[token] / real;
    for (let key = 0; key < grid.keysPerGroup; key++) if (row[key] > 0) give(next, grid, start + key, scale * row[key]);
  }
  for (let token = 0; token < r.length; token++) next[token] += RESIDUAL * r[token];
  return next;
}

// A key gives to the token that it is, or evenly to the tokens that it was pooled from.
function give(next: Float64Array, grid: Grid, other: number, share: number): void {
  const token = grid.keys[other];
  if (token < 0) return;
  if (grid.isToken(token)) { next[token] += share; return; }
  const [y0, y1, x0, x1] = (grid.boxes as Int32Array).subarray(4 * other, 4 * other + 4);
  const each = share / ((y1 - y0) * (x1 - x0));
  for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) next[grid.tokenAt(y, x)] += each;
}

// The grid's part of a row, as a whole of its own: prefix tokens end where their stage begins.
function gridPart(r: Float64Array, prefix: number): Float64Array {
  const map = r.slice(prefix);
  const sum = map.reduce((total, value) => total + value, 0);
  return sum > 0 ? map.map((value) => value / sum) : map;
}

// Share each merged token evenly among the real tokens it was merged from.
function unmerge(map: Float64Array, from: number[], to: number[], factor: number[], prefix: number): Float64Array {
  const next = new Float64Array(prefix + to[0] * to[1]);
  for (let y = 0; y < from[0]; y++) {
    for (let x = 0; x < from[1]; x++) {
      const share = map[y * from[1] + x];
      if (share === 0) continue;
      const [bottom, right] = [Math.min(to[0], (y + 1) * factor[0]), Math.min(to[1], (x + 1) * factor[1])];
      const each = share / ((bottom - y * factor[0]) * (right - x * factor[1]));
      for (let v = y * factor[0]; v < bottom; v++) for (let u = x * factor[1]; u < right; u++) next[prefix + v * to[1] + u] += each;
    }
  }
  return next;
}

// The map as the blocks of every stage begin, the token's own stage first; each sums to 1.
export async function rolloutStages(trace: Blocks, block: number, token: number): Promise<StageRow[]> {
  const { blocks, stages } = trace.manifest;
  let r: Float64Array = new Float64Array(blocks[block].prefix + blocks[block].spatial[0] * blocks[block].spatial[1]);
  r[token] = 1;
  const rows: StageRow[] = [];
  for (let i = block; i >= 0; i--) {
    const { stage, prefix, spatial, mean } = blocks[i];
    const [grid, codes] = await Promise.all([trace.block(i).load(), trace.array(mean as string)]);
    r = pull(r, grid, codes.data as Uint8Array);
    const below = i > 0 ? blocks[i - 1] : null;
    if (below && below.stage === stage) continue;
    const map = gridPart(r, prefix);
    rows.push({ stage, height: spatial[0], width: spatial[1], values: Float32Array.from(map) });
    const merge = stages[stage].merge;
    if (below) r = unmerge(map, spatial, below.spatial, merge ? merge.factor : [1, 1], below.prefix);
  }
  return rows;
}

export async function rollout(trace: Blocks, block: number, token: number): Promise<Map2d> {
  const rows = await rolloutStages(trace, block, token);
  const { height, width, values } = rows[rows.length - 1];
  return { height, width, values };
}
