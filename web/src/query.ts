// The row of weights that a view shows: of the chosen token, or of the one that is pointed at.
import { effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { useLayoutEffect, useMemo } from "preact/hooks";
import type { Grid } from "./grid";
import type { App } from "./state";
import type { Block, Row } from "./rows";
import type { TraceView } from "./trace";
import { blockName, share, tokensOf, tokenWords, times } from "./words";

export interface QueryData {
  trace: TraceView;
  block: number;
  facts: Block;
  grid: Grid;
  row: Row;
  slot: number; // of the query, among the block's queries
  wanted: number; // the token that was chosen; `row.token` where only some are kept
  hovered: boolean;
}

export interface Asking {
  queryData: ReadonlySignal<QueryData | null>;
  error: ReadonlySignal<string | null>;
}

// Follow the choice, and `hover` (-1: nothing) before it. The latest choice is shown last.
export function useQuery(app: App, { hover, heads = false }: { hover?: Signal<number>; heads?: boolean } = {}): Asking {
  const made = useMemo(() => ({ queryData: signal<QueryData | null>(null), error: signal<string | null>(null) }), []);
  useLayoutEffect(() => {
    let wish = 0;
    const stop = effect(() => {
      const mine = ++wish;
      const [trace, block] = [app.trace.value, app.state.block.value];
      const facts = trace.manifest.blocks[block];
      const pointed = hover?.value ?? -1;
      const hovered = pointed >= 0 && pointed < facts.prefix + tokensOf(facts);
      const wanted = hovered ? pointed : app.state.token.value;
      const each = heads || app.state.head.value >= 0 || facts.attention !== null;
      queryOf(trace, block, wanted, each).then(
        (found) => { if (mine === wish) { made.error.value = null; made.queryData.value = { ...found, hovered }; } },
        (error: unknown) => { if (mine === wish) made.error.value = error instanceof Error ? error.message : String(error); },
      );
    });
    return () => { wish = -1; stop(); };
  }, [app]);
  return made;
}

async function queryOf(trace: TraceView, block: number, wanted: number, heads: boolean): Promise<Omit<QueryData, "hovered">> {
  const view = trace.block(block);
  const some = view.facts.chosen !== null && !trace.manifest.on_demand && view.facts.attention === null;
  const [grid, token] = await Promise.all([view.load(), some ? trace.nearest(block, wanted) : wanted]);
  const row = await trace.row(block, token, heads);
  return { trace, block, facts: view.facts, grid, row, slot: grid.slotOf[token], wanted };
}

// Weights of one head, or of the mean of all where `head` is -1 or heads are not to be had.
export const weightsOf = (row: Row, head: number): Float32Array => row.heads?.[head] ?? row.mean;

// Draws again when the row, or anything the drawing reads, changes: at most once a frame.
export function useFrames(draw: () => (() => void) | void, needs: readonly unknown[]): void {
  useLayoutEffect(() => {
    let frame = 0;
    let paint: (() => void) | void;
    const stop = effect(() => {
      paint = draw();
      if (!frame && paint) frame = requestAnimationFrame(() => { frame = 0; paint?.(); });
    });
    return () => { stop(); cancelAnimationFrame(frame); };
  }, needs);
}

export interface Fact { name: string; value: string }

// The chosen token in numbers. `input` is the photo's height and width as the model sees it.
export function factsOf({ facts, grid, row, slot }: QueryData, head: number, input: readonly number[]): Fact[] {
  const group = grid.group(slot);
  const weights = weightsOf(row, head);
  const parts = grid.parts(group);
  const real = row.keys.reduce((sum, token) => sum + (token >= 0 ? 1 : 0), 0);
  const masked = row.keys.reduce((sum, token, key) => sum + (token >= 0 && !row.allowed[key] ? 1 : 0), 0);
  const padding = row.keys.length - real;
  const sumOf = (is: (token: number) => boolean): number =>
    weights.reduce((sum, weight, key) => sum + (is(row.keys[key]) ? weight : 0), 0);
  const entropy = weights.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0);
  const far = distance(facts, grid, slot, weights);
  const part = parts.length > 1 ? `, part ${parts.indexOf(grid.regionOf(slot)) + 1} of ${parts.length}` : "";
  const list: (Fact | null)[] = [
    { name: "token", value: placeWords(facts, row.token) },
    row.token < grid.prefix ? null : { name: "pixels", value: pixelWords(facts, grid, row.token, input) },
    facts.group ? { name: facts.group, value: `${group + 1} of ${facts.groups}${part}` } : null,
    { name: "keys", value: keysWords(real - masked, facts.cut || masked ? masked : null, padding) },
    { name: "spread", value: `as if over ${Math.exp(entropy).toFixed(1)} keys evenly` },
    far === null ? null : { name: "distance", value: `${far.toFixed(1)} pixels on average` },
    sumOf((token) => token < 0) > 0 ? { name: "to padding", value: share(sumOf((token) => token < 0)) } : null,
    grid.prefix ? { name: "to prefix", value: share(sumOf((token) => grid.isPrefix(token))) } : null,
    { name: "head", value: head < 0 || !row.heads ? `mean of ${facts.heads}` : `${head + 1} of ${facts.heads}` },
  ];
  return list.filter((fact): fact is Fact => fact !== null);
}

const keysWords = (seen: number, masked: number | null, padding: number): string =>
  `${seen} seen${masked === null ? "" : `, ${masked} masked`}${padding ? `, ${padding} padding` : ""}`;

export function placeWords(block: Block, token: number): string {
  if (token < block.prefix) return `prefix token ${token + 1} of ${block.prefix}, without a place`;
  const [rows, columns] = block.spatial;
  const at = token - block.prefix;
  return `row ${Math.floor(at / columns) + 1} of ${rows}, column ${at % columns + 1} of ${columns}`;
}

function pixelWords({ stride }: Block, grid: Grid, token: number, input: readonly number[]): string {
  const [y, x] = grid.position(token);
  const last = [y, x].map((p, axis) => Math.min(input[axis], (p + 1) * stride[axis]) - 1);
  return `rows ${y * stride[0]}–${last[0]}, columns ${x * stride[1]}–${last[1]}`;
}

// Mean distance from a token to what it attends to in the photo, in pixels of the model's input.
export function distance({ stride, prefix }: Block, grid: Grid, slot: number, weights: Float32Array): number | null {
  const here = grid.place(slot);
  if (!here) return null;
  const group = grid.group(slot);
  let [sum, placed] = [0, 0];
  weights.forEach((weight, key) => {
    if (!weight || grid.key(group, key) < prefix) return;
    const box = grid.box(group, key);
    if (!box) return;
    placed += weight;
    const [down, right] = [0, 1].map((axis) => ((box[axis] + box[axis + 2] - 1) / 2 - here[axis]) * stride[axis]);
    sum += weight * Math.hypot(down, right);
  });
  return placed ? sum / placed : 0;
}

// A key of the group in words, by its number.
export function keyName({ facts, grid, slot }: QueryData, key: number): string {
  const group = grid.group(slot);
  const token = grid.key(group, key);
  const box = token >= grid.total ? grid.box(group, key) : null;
  if (!box) return tokenWords(facts, token);
  const span = (from: number, to: number): string => (to - from > 1 ? `s ${from + 1}–${to}` : ` ${to}`);
  return `row${span(box[0], box[2])}, column${span(box[1], box[3])}, pooled`;
}

// For screen readers: the query and its strongest key.
export function spoken(queryData: QueryData, head: number, input: readonly number[]): string {
  const weights = weightsOf(queryData.row, head);
  const best = weights.reduce((top, weight, key) => (weight > weights[top] ? key : top), 0);
  const { facts } = queryData;
  const stated = factsOf(queryData, head, input).filter(({ name }) => ["token", facts.group, "keys", "head"].includes(name));
  return `${blockName(facts)}, ${facts.title}, ${times(facts.spatial)} tokens. `
    + `${stated.map(({ name, value }) => `${name} ${value}`).join(". ")}. Strongest: ${keyName(queryData, best)}, ${share(weights[best])}.`;
}
