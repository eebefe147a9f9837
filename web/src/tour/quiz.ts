// Questions of the tour, about tokens of this very photo; answered by the groups and regions of the
// trace, and by nothing that is known of a mechanism.

import { boxOf, sees, type Groups } from "../groups";
import type { QuizKind } from "./steps";

export type Bond = "token" | "pooled" | "masked" | "apart";

// Two tokens of a block: may the first look at the second? `was` says how it is in the block before.
export interface Quiz {
  quizKind: QuizKind;
  block: number;
  queryToken: number;
  other: number;
  bond: Bond;
  was: { block: number; bond: Bond } | null;
  cell: [number, number] | null; // rows and columns that a pooled key stands for
}

interface QuizBlock { block: number; groups: Groups }

export const may = (bond: Bond): boolean => bond === "token" || bond === "pooled";

// How a token may look at another one of its block.
export function bond(block: Groups, queryToken: number, other: number): { bond: Bond; cell: [number, number] | null } {
  const slot = block.slotOf[queryToken];
  const start = Math.floor(slot / block.queriesPerGroup) * block.keysPerGroup;
  let found: { bond: Bond; cell: [number, number] | null } = { bond: "apart", cell: null };
  for (let key = start; key < start + block.keysPerGroup; key++) {
    const token = block.keys[key];
    if (token === other) {
      if (sees(block, slot, key)) return { bond: "token", cell: null };
      if (found.bond === "apart") found = { bond: "masked", cell: null };
    } else if (token >= block.total && sees(block, slot, key)) {
      const box = boxOf(block, key);
      if (box && holds(block, box, other)) found = { bond: "pooled", cell: [box[2] - box[0], box[3] - box[1]] };
    }
  }
  return found;
}

function holds(block: Groups, [y0, x0, y1, x1]: readonly number[], token: number): boolean {
  if (token < block.prefix) return false;
  const [y, x] = position(block, token);
  return y >= y0 && y < y1 && x >= x0 && x < x1;
}

const position = ({ prefix, columns }: Groups, token: number): [number, number] =>
  [Math.floor((token - prefix) / columns), (token - prefix) % columns];
const tokenAt = ({ prefix, columns }: Groups, y: number, x: number): number => prefix + y * columns + x;

// Neighbours that the block before keeps apart and this one brings together, nearest to the middle;
// or, where there are none, the two whose answer differs between the blocks.
export function joinQuiz(before: QuizBlock, after: QuizBlock): Quiz | null {
  const { groups } = after;
  const pairs = [...neighbours(groups)].sort((a, b) => off(groups, a) - off(groups, b));
  const changes = pairs.find(([a, b]) => !may(bond(before.groups, a, b).bond) && may(bond(groups, a, b).bond))
    ?? pairs.find(([a, b]) => may(bond(before.groups, a, b).bond) !== may(bond(groups, a, b).bond))
    ?? pairs[0];
  return changes ? quizOf("join", before, after, changes) : null;
}

// Two tokens of one group that may not see each other: as near as possible as the block computes them,
// and so far apart in the photo.
export function partQuiz(after: QuizBlock): Quiz | null {
  const { keys, groups, keysPerGroup, prefix, total } = after.groups;
  const inside = (token: number): boolean => token >= prefix && token < total;
  for (let group = groups - 1; group >= 0; group--) {
    for (let key = (group + 1) * keysPerGroup - 1; key > group * keysPerGroup; key--) {
      for (let other = key - 1; other >= group * keysPerGroup; other--) {
        const [a, b] = [keys[key], keys[other]];
        if (!inside(a) || !inside(b)) continue;
        if (bond(after.groups, a, b).bond === "masked") return quizOf("part", null, after, [a, b]);
      }
    }
  }
  return null;
}

function quizOf(quizKind: QuizKind, before: QuizBlock | null, after: QuizBlock, [queryToken, other]: [number, number]): Quiz {
  const was = before && { block: before.block, bond: bond(before.groups, queryToken, other).bond };
  return { quizKind, block: after.block, queryToken, other, was, ...bond(after.groups, queryToken, other) };
}

function* neighbours(block: Groups): Generator<[number, number]> {
  for (let y = 0; y < block.rows; y++) {
    for (let x = 0; x < block.columns; x++) {
      if (x + 1 < block.columns) yield [tokenAt(block, y, x), tokenAt(block, y, x + 1)];
      if (y + 1 < block.rows) yield [tokenAt(block, y, x), tokenAt(block, y + 1, x)];
    }
  }
}

// How far two tokens lie from the middle of the grid, in shares of it.
function off(block: Groups, [a, b]: [number, number]): number {
  const [[ay, ax], [by, bx]] = [position(block, a), position(block, b)];
  return Math.hypot((ay + by + 1) / 2 / block.rows - 0.46, (ax + bx + 1) / 2 / block.columns - 0.46);
}
