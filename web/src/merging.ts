// Which tokens become one between two stages, and what each gives.
import type { Pair } from "./grid";
import type { Manifest } from "./schema";
import type { TraceView } from "./trace";

export interface Child {
  place: Pair; // row and column on the grid below
  token: number; // its number among the tokens of the stage below; -1: padding
  share: number | null; // what it gives; all of one parent's sum to one
  own: boolean; // the chosen token itself
}

export interface Merging {
  stage: number; // the stage that the merge opens
  number: number; // of the model's merges
  parent: Pair;
  factor: Pair;
  before: Pair;
  after: Pair;
  stride: Pair; // pixels of the parent
  below: Pair; // pixels of a child
  dims: Pair; // numbers of a child, and of the parent
  overlap: Pair; // tokens that it looks at beyond its children, on each side
  children: Child[];
  into: boolean; // the chosen token is a child; else it is the parent
}

const pair = (list: readonly number[]): Pair => [list[0], list[1]];

// The merge that made the chosen token; of a stage that none opens, the one that it goes into.
export async function mergingOf(trace: TraceView, block: number, token: number): Promise<Merging | null> {
  const { stages, blocks } = trace.manifest;
  const { stage: at, prefix, spatial } = blocks[block];
  const into = !stages[at].merge;
  const stage = into ? at + 1 : at;
  const merge = stages[stage]?.merge;
  if (!merge || token < prefix) return null;
  const number = token - prefix;
  const place: Pair = [Math.floor(number / spatial[1]), number % spatial[1]];
  const factor = pair(merge.factor);
  const parent: Pair = into ? [Math.floor(place[0] / factor[0]), Math.floor(place[1] / factor[1])] : place;
  const shares = merge.share && merge.after[0] > parent[0] && merge.after[1] > parent[1]
    ? await sharesAt(trace, merge.share, parent) : null;
  const firsts = blocks[stages[stage - 1].blocks[0]].prefix;
  const children = Array.from({ length: factor[0] * factor[1] }, (_, child): Child => {
    const below: Pair = [parent[0] * factor[0] + Math.floor(child / factor[1]), parent[1] * factor[1] + child % factor[1]];
    const there = below[0] < merge.before[0] && below[1] < merge.before[1];
    return {
      place: below, share: shares ? shares[child] : null, token: there ? firsts + below[0] * merge.before[1] + below[1] : -1,
      own: into && below[0] === place[0] && below[1] === place[1],
    };
  });
  return {
    stage, parent, factor, children, into, before: pair(merge.before), after: pair(merge.after),
    number: stages.slice(0, stage).filter((earlier) => earlier.merge).length,
    stride: pair(stages[stage].stride), below: pair(stages[stage - 1].stride), dims: [stages[stage - 1].dim, stages[stage].dim],
    overlap: pair(merge.overlap),
  };
}

// Stored in 8 bits: made to sum to one again.
async function sharesAt(trace: TraceView, name: string, [y, x]: Pair): Promise<number[]> {
  const { shape, data } = await trace.array(name);
  const [, wide, children] = shape;
  const codes = Array.from(data.subarray((y * wide + x) * children, (y * wide + x + 1) * children));
  const sum = codes.reduce((total, code) => total + code, 0);
  return codes.map((code) => (sum ? code / sum : 1 / children));
}

// Why a stage has no merge to show, in words.
export function unmerged({ stages, blocks }: Manifest, block: number, token: number): string {
  const { stage, prefix } = blocks[block];
  if (token < prefix) return "A prefix token has no place in the photo and is never merged. Choose a token of the picture.";
  if (stages.length === 1) {
    return "This model never merges: all of its blocks work on one grid, so its tokens stay as small, and as many, as they began.";
  }
  return `No merge opens or follows stage ${stage + 1} of this model: its grid stays as it is.`;
}
