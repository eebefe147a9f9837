// What the tour says and shows: every word follows from the manifest, whatever the mechanism.

import type { Manifest } from "../schema";
import type { Selection } from "../state";
import type { Block } from "../rows";
import { blockName, capital, count, plural, share, times, tokensOf } from "../words";
import { factor, large } from "./words";

export type Scene = "photo" | "patches" | "groups" | "pair" | "merge" | "stages" | "answer" | "cost";
export type QuizKind = "join" | "part";

// A step: its words, the drawing beside them, what it selects, and its question, which comes first.
export interface TourStep {
  id: string;
  name: string;
  text: string;
  scene: Scene;
  block: number;
  // Where in the photo to look, as shares of its height and width.
  at: [number, number];
  select: Partial<Selection>;
  quizKind: QuizKind | null;
}

const CENTRE: [number, number] = [0.46, 0.46];
const CORNER: [number, number] = [0.999, 0.999];

export const rolls = (block: Block): boolean => block.cut !== null && block.cut.shift.some((n) => n > 0);
export const everyPair = (block: Block): number => (block.prefix + tokensOf(block)) ** 2;

// The first block of another kind than the first: shifted windows, columns, full attention.
export function otherKind(manifest: Manifest): number {
  const [first, ...rest] = manifest.blocks;
  return first ? rest.findIndex((block) => block.title !== first.title) + 1 || -1 : -1;
}

export function tourSteps(manifest: Manifest): TourStep[] {
  const first = manifest.blocks[0];
  const last = manifest.blocks[manifest.blocks.length - 1];
  if (!first || !last) return [];
  const other = otherKind(manifest);
  return [
    photo(manifest),
    patches(manifest, first),
    groups(first),
    ...(other > 0 ? [second(manifest, other)] : []),
    ...(other > 0 ? mask(manifest, other) : []),
    ...merge(manifest),
    repeat(manifest, last),
    answer(manifest, last),
    cost(manifest),
  ];
}

function step(id: string, name: string, scene: Scene, block: number, view: string, text: string, more: Partial<TourStep> = {}): TourStep {
  return { id, name, scene, block, text, at: CENTRE, quizKind: null, ...more, select: { view, block, head: -1, shift: 0, ...more.select } };
}

function photo({ photo: { input }, answer: [best], model, blocks }: Manifest): TourStep {
  const said = best
    ? `${model.name} calls it “${best.label}”, with ${share(best.probability)}${model.trained ? "" : " (untrained weights: a guess)"}. How does it get there?`
    : `${model.name} turns it into features. How?`;
  return step("image", "Image", "photo", 0, "canvas", `The photo is scaled and cropped to ${times(input)} pixels (height × width): all that the model sees. ${said} Follow it through ${plural(blocks.length, "block")}, on this very photo.`);
}

function patches({ model }: Manifest, first: Block): TourStep {
  const most = Math.max(...model.overlap);
  const around = most > 0 ? ` and the ${plural(most, "pixel")} around it` : "";
  return step("patches", "Patches", "patches", 0, "canvas", `The picture is cut into patches of ${times(model.patch)} pixels. Each becomes a token: a list of numbers computed from its pixels${around}. That makes a grid of ${times(first.spatial)} = ${plural(tokensOf(first), "token")}${first.prefix ? `, and ${plural(first.prefix, "prefix token")} beside it` : ""}.`);
}

function groups(first: Block): TourStep {
  const all = everyPair(first);
  const pairs = first.pairs === all
    ? `That makes ${count(all)} pairs.`
    : `All with all would be ${count(all)} pairs; here there are ${count(first.pairs)}, ${factor(all / first.pairs)} times fewer.`;
  return step("groups", capital(first.title), "groups", 0, "canvas", `Attention lets a token fetch information from others. ${first.text} ${pairs}`);
}

function second({ blocks }: Manifest, index: number): TourStep {
  const block = blocks[index] as Block;
  const before = blocks[0] as Block;
  const [text, name] = rolls(block) && block.cut
    ? [`Windows alone would never talk to each other. So ${blockName(block)} moves the cut by ${times(block.cut.shift)} tokens: neighbours that a border parted share a window now. Roll the picture with the slider and watch.`, "Shift"]
    : [`Not every block is alike. In ${blockName(block)}: ${block.text}`, capital(block.title)];
  return step("shift", name, "pair", index, "canvas", text, { quizKind: before.stage === block.stage ? "join" : null });
}

function mask({ blocks }: Manifest, index: number): TourStep[] {
  const block = blocks[index] as Block;
  if (!rolls(block)) return [];
  return [step("mask", "Mask", "pair", index, "canvas", "To keep all windows the same size, the shifted picture is rolled: what leaves at the top left comes back at the bottom right. A window there is glued together from distant parts of the photo, so each part sees only itself. The hatched keys are masked: they get no weight at all.", { at: CORNER, quizKind: "part", select: { shift: 1 } })];
}

function merge({ stages }: Manifest): TourStep[] {
  const index = stages.findIndex((stage) => stage.merge);
  const stage = stages[index];
  if (!stage?.merge) return [];
  const { factor: by, before, after } = stage.merge;
  return [step("merge", "Merge", "merge", stage.blocks[0] ?? 0, "merge", `Between stages, ${times(by)} neighbours become one token: ${times(before)} turn into ${times(after)}. Each stands for ${times(stage.stride)} pixels now and is described by ${count(stage.dim)} numbers instead of ${count(stages[index - 1]?.dim ?? 0)}. A token at its new place sees as many others as before, and so more of the photo.`)];
}

function repeat({ stages, reach, blocks }: Manifest, last: Block): TourStep {
  const grids = stages.map((stage) => times(stage.spatial));
  const wide = reach.flatMap(({ support }) => (support ? [Math.max(support[2] - support[0], support[3] - support[1])] : []));
  const seen = wide.length ? ` The middle token can be reached by ${wide.map((n) => `${Math.round(n)}`).join(", then ")} pixels across.` : "";
  const text = stages.length > 1
    ? `Then the same again, stage by stage: ${grids.join(" → ")} tokens.${seen} Below, one last-stage token unfolds back to the pixels it can know of.`
    : `Then the same again: ${plural(blocks.length, "block")} on one grid of ${grids[0] ?? ""} tokens.${seen} Below, one token unfolds back to the pixels it can know of.`;
  return step("repeat", "Repeat", "stages", blocks.indexOf(last), "reach", text);
}

function answer({ answer: [best], model, blocks, faithfulness }: Manifest, last: Block): TourStep {
  const pooled = {
    avg: `The ${plural(tokensOf(last), "token")} of the last block are averaged, and one last layer turns the average into a score for every class`,
    token: "The prefix token, which looked at them all, is taken alone, and one last layer turns it into a score for every class",
  }[model.pool] ?? `The last block leaves ${plural(tokensOf(last), "token")}, for others to use`;
  const said = best && model.pool ? `: “${best.label}” gets ${share(best.probability)}` : "";
  const trust = faithfulness
    ? " Which pixels support it? Maps make claims; below, the pixels that a map names are deleted first, to see whether the answer falls faster than by chance."
    : " Which pixels support it? Maps make claims; attention alone shows routing, not importance.";
  return step("class", model.classes ? "Class" : "Features", "answer", blocks.indexOf(last), "audit", `${pooled}${said}.${trust}`, {
    at: CENTRE,
    select: best ? { cls: best.class } : {},
  });
}

function cost(manifest: Manifest): TourStep {
  const all = manifest.blocks.reduce((sum, block) => sum + everyPair(block), 0);
  const pairs = manifest.blocks.reduce((sum, block) => sum + block.pairs, 0);
  const less = pairs < all
    ? `All with all in every block would weigh ${large(all)} pairs; this model weighs ${large(pairs)}, ${factor(all / pairs)} times fewer.`
    : `Every token weighs every other: ${large(pairs)} pairs.`;
  return step("cost", "Cost", "cost", 0, "cost", `${less}${growth(manifest)} Below, the same for other mechanisms, sizes and windows.`, { select: { metric: "pairs" } });
}

// What twice the side length does to the pairs, where both sizes are given.
function growth({ cost: { sizes, mechanisms } }: Manifest): string {
  const own = mechanisms.find(({ id }) => id === "this");
  const from = sizes.findIndex((size) => sizes.includes(2 * size));
  const to = sizes.indexOf(2 * (sizes[from] ?? 0));
  const [few, many] = [own?.pairs[from], own?.pairs[to]];
  if (!few || !many) return "";
  return ` A picture twice as wide and high has 4 times the tokens; all with all grows 16 times, this model's pairs ${factor(many / few)} times.`;
}
