// Rollout through a hierarchy: pull one row vector back through the blocks, never N x N.
import type { Grid } from "./grid";
import { decodeRow, type Map2d, type TraceView } from "./trace";

export const OWN = 0.5; // what a token keeps of itself in each block: the residual's share

// r <- r ((1 - a) I + a P^T A P): what each key's tokens give to the queries' sums.
function pull(r: Float64Array, grid: Grid, codes: Uint8Array): Float64Array {
  const next = new Float64Array(r.length);
  for (let slot = 0; slot < grid.queries.length; slot++) {
    const token = grid.queries[slot];
    if (token < 0 || r[token] === 0) continue;
    const start = grid.group(slot) * grid.answering;
    const row = decodeRow(codes, slot * grid.answering, grid.answering);
    for (let key = 0; key < grid.answering; key++) {
      if (row[key] > 0) spread(next, grid, start + key, r[token] * row[key]);
    }
  }
  for (let token = 0; token < r.length; token++) next[token] = OWN * r[token] + (1 - OWN) * next[token];
  return next;
}

// Give a key's share to the tokens that it stands for; what padding gets is lost.
function spread(next: Float64Array, grid: Grid, other: number, share: number): void {
  const token = grid.keys[other];
  if (token < 0) return;
  if (grid.isToken(token)) { next[token] += share; return; }
  const box = grid.box(Math.floor(other / grid.answering), other % grid.answering);
  if (!box) return;
  const [y0, x0, y1, x1] = box;
  const each = share / ((y1 - y0) * (x1 - x0));
  for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) next[grid.tokenAt(y, x)] += each;
}

// Share each merged token evenly among the tokens it was merged from.
function unmerge(r: Float64Array, from: number[], to: number[], factor: number[], prefix: number): Float64Array {
  const next = new Float64Array(prefix + to[0] * to[1]);
  next.set(r.subarray(0, prefix));
  for (let y = 0; y < from[0]; y++) {
    for (let x = 0; x < from[1]; x++) {
      const share = r[prefix + y * from[1] + x];
      if (share === 0) continue;
      const [bottom, right] = [Math.min(to[0], (y + 1) * factor[0]), Math.min(to[1], (x + 1) * factor[1])];
      const each = share / ((bottom - y * factor[0]) * (right - x * factor[1]));
      for (let v = y * factor[0]; v < bottom; v++) for (let u = x * factor[1]; u < right; u++) next[prefix + v * to[1] + u] += each;
    }
  }
  return next;
}

export interface StageRow extends Map2d { stage: number; prefix: Float32Array }

// The row as it stands before the first block of every stage, the token's own stage first.
export async function rolloutStages(trace: TraceView, block: number, token: number): Promise<StageRow[]> {
  const { blocks, stages } = trace.manifest;
  const last = blocks[block];
  let r: Float64Array = new Float64Array(last.prefix + last.spatial[0] * last.spatial[1]);
  r[token] = 1;
  const rows: StageRow[] = [];
  for (let i = block; i >= 0; i--) {
    const facts = blocks[i];
    const [grid, codes] = await Promise.all([trace.block(i).load(), trace.array(facts.mean as string)]);
    r = pull(r, grid, codes.data as Uint8Array);
    if (i > 0 && blocks[i - 1].stage === facts.stage) continue;
    const { prefix, spatial: [height, width] } = facts;
    rows.push({ stage: facts.stage, height, width, values: Float32Array.from(r.subarray(prefix)), prefix: Float32Array.from(r.subarray(0, prefix)) });
    const merge = stages[facts.stage].merge;
    if (i > 0 && merge) r = unmerge(r, facts.spatial, blocks[i - 1].spatial, merge.factor, prefix);
  }
  return rows;
}

export async function rollout(trace: TraceView, block: number, token: number): Promise<Map2d> {
  const rows = await rolloutStages(trace, block, token);
  const { height, width, values } = rows[rows.length - 1];
  return { height, width, values };
}
