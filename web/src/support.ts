// Theory: which tokens and pixels can influence a token, by the patterns alone. A set of tokens is
// pulled back through the groups of each block below it, through merges and patches.

import { boxOf, type Groups } from "./groups";
import type { Manifest } from "./schema";

// What can influence the chosen token among the tokens of a stage, as they enter its blocks; `before`
// is the same as they leave them. Flags run over the grid, without prefix tokens.
export interface StageSupport {
  stage: number;
  spatial: [number, number];
  stride: [number, number];
  before: Uint8Array;
  enters: Uint8Array;
  count: number;
}
export interface Support {
  stages: StageSupport[]; // from the token's own stage down to the first
  box: [number, number, number, number]; // y0, x0, y1, x1 in pixels of the input
  pixels: Uint8Array; // flags of the input's rows and columns
  share: number; // of the input's pixels
}

// Tokens that some tokens attend to, and these themselves: one flag a token, prefix tokens first.
export function seenBy(block: Groups, tokens: Uint8Array): Uint8Array<ArrayBuffer> {
  const { queries, keys, queriesPerGroup, keysPerGroup, groups, queryLabels, keyLabels, prefix, columns, total } = block;
  const found = new Uint8Array(tokens);
  const labelled = queryLabels !== null && keyLabels !== null;
  for (let group = 0; group < groups; group++) {
    const labels = new Set<number>();
    for (let slot = group * queriesPerGroup; slot < (group + 1) * queriesPerGroup; slot++) {
      if (queries[slot] >= 0 && tokens[queries[slot]]) labels.add(labelled ? queryLabels[slot] : 0);
    }
    if (!labels.size) continue;
    for (let key = group * keysPerGroup; key < (group + 1) * keysPerGroup; key++) {
      if (keys[key] < 0 || !labels.has(labelled ? keyLabels[key] : 0)) continue;
      if (keys[key] < total) { found[keys[key]] = 1; continue; }
      const box = boxOf(block, key);
      if (box) for (let y = box[0]; y < box[2]; y++) found.fill(1, prefix + y * columns + box[1], prefix + y * columns + box[3]);
    }
  }
  return found;
}

// Pull a token, as it is after a block, back to the pixels. `groups` holds those of every block.
export function support(manifest: Manifest, groups: readonly Groups[], block: number, token: number): Support {
  const from = manifest.blocks[block];
  let tokens = new Uint8Array(groups[block].total);
  tokens[token] = 1;
  const stages: StageSupport[] = [];
  for (let stage = from.stage; stage >= 0; stage--) {
    const { spatial, stride, blocks } = manifest.stages[stage];
    const prefix = manifest.blocks[blocks[0]].prefix;
    const before = tokens.slice(prefix);
    for (const index of blocks.filter((index) => index <= block).reverse()) tokens = seenBy(groups[index], tokens);
    const enters = tokens.slice(prefix);
    stages.push({
      stage, spatial: [spatial[0], spatial[1]], stride: [stride[0], stride[1]], before, enters,
      count: enters.reduce((sum, flag) => sum + flag, 0),
    });
    if (stage > 0) tokens = unmerge(manifest, stage, enters, manifest.blocks[manifest.stages[stage - 1].blocks[0]].prefix);
  }
  return { stages, ...pixels(manifest, stages[stages.length - 1]) };
}

// The tokens of the stage below that make up some tokens of a stage.
function unmerge(manifest: Manifest, stage: number, tokens: Uint8Array, prefix: number): Uint8Array<ArrayBuffer> {
  const { merge, spatial } = manifest.stages[stage];
  const below = manifest.stages[stage - 1].spatial;
  const factor = merge?.factor ?? [1, 1];
  const finer = new Uint8Array(prefix + below[0] * below[1]);
  tokens.forEach((flag, place) => {
    if (!flag) return;
    const [y, x] = [Math.floor(place / spatial[1]) * factor[0], (place % spatial[1]) * factor[1]];
    for (let v = y; v < Math.min(y + factor[0], below[0]); v++) {
      for (let h = x; h < Math.min(x + factor[1], below[1]); h++) finer[prefix + v * below[1] + h] = 1;
    }
  });
  return finer;
}

// The pixels that some tokens of the first stage are made of, overlap of the patches included.
function pixels({ photo, model }: Manifest, { spatial, stride, enters }: StageSupport): Omit<Support, "stages"> {
  const [high, wide] = photo.input;
  const flags = new Uint8Array(high * wide);
  enters.forEach((flag, place) => {
    if (!flag) return;
    const at = [Math.floor(place / spatial[1]), place % spatial[1]];
    const [y0, x0] = at.map((p, axis) => Math.max(0, p * stride[axis] - model.overlap[axis]));
    const [y1, x1] = at.map((p, axis) => Math.min(photo.input[axis], (p + 1) * stride[axis] + model.overlap[axis]));
    for (let y = y0; y < y1; y++) flags.fill(1, y * wide + x0, y * wide + x1);
  });
  const rows = Array.from({ length: high }, (_, y) => y).filter((y) => flags.subarray(y * wide, (y + 1) * wide).includes(1));
  const columns = Array.from({ length: wide }, (_, x) => x).filter((x) => rows.some((y) => flags[y * wide + x]));
  const ends = (list: number[]): [number, number] => [list[0] ?? 0, (list[list.length - 1] ?? -1) + 1];
  const [[y0, y1], [x0, x1]] = [ends(rows), ends(columns)];
  return { pixels: flags, box: [y0, x0, y1, x1], share: flags.reduce((sum, flag) => sum + flag, 0) / (high * wide) };
}
