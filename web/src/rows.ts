// Rows of weights and maps, and the manifest's blocks, stages and methods: what views and traces share.
import type { Manifest } from "./schema";

export type Block = Manifest["blocks"][number];
export type Stage = Manifest["stages"][number];
export type Method = Manifest["methods"][number];

export interface Row {
  token: number;
  group: number;
  query: number;
  keys: Int32Array; // token numbers: prefix first, then grid, then pooled; -1 padding
  allowed: Uint8Array; // 1 = may be seen
  mean: Float32Array;
  heads: Float32Array[] | null; // one a head, each sums to 1
  bias: Float32Array[] | null;
  boxes: Int32Array | null; // [Tk, 4] y0, y1, x0, x1 in tokens of the block's grid
}
export interface Map2d { height: number; width: number; values: Float32Array }

// Decode one row of weights: the codes are square roots, and a row sums to one.
export function decodeRow(codes: Uint8Array, start: number, length: number): Float32Array {
  const row = new Float32Array(length);
  let sum = 0;
  for (let i = 0; i < length; i++) sum += row[i] = codes[start + i] ** 2;
  if (sum > 0) for (let i = 0; i < length; i++) row[i] /= sum;
  return row;
}
