// The one mutable state: a signal a field, kept in the address so that a link shows the same view.
import { batch, effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import type { Block } from "./rows";
import { mostOf } from "./mask";
import type { TraceView } from "./trace";

export interface Selection {
  view: string;
  block: number;
  head: number; // -1 = mean
  token: number; // number in the query list, prefix tokens first
  cls: number;
  method: string;
  shift: number; // 0..1, the slider that rolls
  step: number; // of the tour; -1 = off
  side: "A" | "B";
  sort: "index" | "distance" | "entropy";
  size: number; // of the cost lab
  window: number;
  metric: string; // what the cost lab counts
}
export type Signals<T> = { [K in keyof T]: Signal<T[K]> };

export interface App {
  readonly traces: TraceView[];
  trace: ReadonlySignal<TraceView>; // the active side
  state: Signals<Selection>;
  said: ReadonlySignal<string>;
  say(text: string): void; // to the live region
  reduced: boolean;
  host: "report" | "server" | "notebook";
  root: HTMLElement;
  place: Record<string, string>; // what else the address keeps: the server's traces
}

const SORTS = ["index", "distance", "entropy"] as const;
const tokens = (block: Block) => block.prefix + block.spatial[0] * block.spatial[1];

// A token's middle as a share of the photo's height and width, and back.
export function placeOf(block: Block, token: number, input: number[]): [number, number] {
  const at = token - block.prefix;
  const [y, x] = [Math.floor(at / block.spatial[1]), at % block.spatial[1]];
  return [(y + 0.5) * block.stride[0] / input[0], (x + 0.5) * block.stride[1] / input[1]];
}
export function tokenAt(block: Block, place: [number, number], input: number[]): number {
  const [y, x] = place.map((p, axis) =>
    Math.min(block.spatial[axis] - 1, Math.max(0, Math.floor(p * input[axis] / block.stride[axis]))));
  return block.prefix + y * block.spatial[1] + x;
}

export function defaults(trace: TraceView): Selection {
  const { blocks, photo, answer, methods, outcome } = trace.manifest;
  // What a head reads lies behind the last block.
  const [view, block] = outcome.kind === "class" ? ["canvas", 0] : ["outcome", blocks.length - 1];
  return {
    view, block, head: -1, token: tokenAt(blocks[block], [0.46, 0.46], photo.input), cls: answer[0]?.class ?? mostOf(trace),
    method: methods[0]?.id ?? "", shift: 0, step: 0, side: "A", sort: "index",
    size: Math.max(...photo.input), window: blocks.find((block) => block.cut)?.cut?.window[0] ?? 7,
    metric: "flops",
  };
}

// Read what an address selects; what it leaves out or cannot mean stays as it is.
export function parse(hash: string, now: Selection, traces: TraceView[]): Selection {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const next = { ...now };
  const whole = (name: string, below: number): number | null => {
    const text = given.get(name);
    return text !== null && /^\d{1,9}$/.test(text) && Number(text) < below ? Number(text) : null;
  };
  if (given.get("side") === "B" && traces.length > 1) next.side = "B";
  else if (given.has("side")) next.side = "A";
  const { blocks, model, methods } = traces[next.side === "B" ? 1 : 0].manifest;
  const block = whole("block", blocks.length);
  if (block !== null && block !== next.block) { next.block = block; next.token = moved(traces[next.side === "B" ? 1 : 0], now, block); }
  next.block = Math.min(next.block, blocks.length - 1);
  const facts = blocks[next.block];
  next.token = whole("token", tokens(facts)) ?? Math.min(next.token, tokens(facts) - 1);
  next.head = given.get("head") === "mean" ? -1 : whole("head", facts.heads) ?? Math.min(next.head, facts.heads - 1);
  next.cls = whole("class", Math.max(1, model.classes)) ?? next.cls;
  if (methods.some(({ id }) => id === given.get("method"))) next.method = given.get("method") as string;
  const shift = Number(given.get("shift") ?? NaN);
  if (shift >= 0 && shift <= 1) next.shift = shift;
  next.step = given.get("step") === "off" ? -1 : whole("step", 99) ?? next.step;
  const sort = SORTS.find((name) => name === given.get("sort"));
  if (sort) next.sort = sort;
  next.size = whole("size", 100_000) ?? next.size;
  next.window = whole("window", 1000) ?? next.window;
  if (/^[a-z]+$/.test(given.get("metric") ?? "")) next.metric = given.get("metric") as string;
  if (/^[a-z]+$/.test(given.get("view") ?? "")) next.view = given.get("view") as string;
  return next;
}

export function write(state: Selection, traces: number, place: Record<string, string> = {}): string {
  const words: Record<string, string> = {
    ...place,
    view: state.view, block: String(state.block), token: String(state.token), head: state.head < 0 ? "mean" : String(state.head),
    class: String(state.cls), method: state.method, shift: String(Math.round(state.shift * 1000) / 1000),
    step: state.step < 0 ? "off" : String(state.step), sort: state.sort, size: String(state.size), window: String(state.window), metric: state.metric,
  };
  if (traces > 1) words.side = state.side;
  return `#${new URLSearchParams(words)}`;
}

export function makeState(selection: Selection): Signals<Selection> {
  return Object.fromEntries(Object.entries(selection).map(([name, value]) => [name, signal(value)])) as unknown as Signals<Selection>;
}
export function snapshot(state: Signals<Selection>): Selection {
  return Object.fromEntries(Object.entries(state).map(([name, field]) => [name, field.value])) as unknown as Selection;
}
export function assign(state: Signals<Selection>, next: Partial<Selection>): void {
  batch(() => {
    for (const [name, value] of Object.entries(next)) (state[name as keyof Selection] as Signal<unknown>).value = value;
  });
}

// The token of another block that lies at the same place of the photo.
function moved(trace: TraceView, now: Selection, block: number): number {
  const { blocks, photo } = trace.manifest;
  const [from, to] = [blocks[Math.min(now.block, blocks.length - 1)], blocks[Math.min(block, blocks.length - 1)]];
  if (now.token < from.prefix) return Math.min(now.token, tokens(to) - 1);
  return tokenAt(to, placeOf(from, now.token, photo.input), photo.input);
}

// What choosing a block changes: the same place in the photo stays chosen, or `place` (shares of height and width).
export function selectBlock(app: App, block: number, place?: [number, number]): Partial<Selection> {
  const { blocks, photo } = app.trace.value.manifest;
  const now = snapshot(app.state);
  const head = Math.min(now.head, blocks[block].heads - 1);
  return { block, head, token: place ? tokenAt(blocks[block], place, photo.input) : moved(app.trace.value, now, block) };
}
export const chooseBlock = (app: App, block: number, place?: [number, number]) => assign(app.state, selectBlock(app, block, place));

// What looking at the other trace changes: its block of the same number, the same place of the photo.
export function selectSide(app: App, side: "A" | "B"): Partial<Selection> {
  const [from, to] = [app.trace.value.manifest, app.traces[side === "B" ? 1 : 0].manifest];
  const now = snapshot(app.state);
  const block = Math.min(now.block, to.blocks.length - 1);
  const before = from.blocks[now.block];
  const place = now.token < before.prefix ? [0.5, 0.5] as [number, number] : placeOf(before, now.token, from.photo.input);
  return {
    side, block, head: Math.min(now.head, to.blocks[block].heads - 1), token: tokenAt(to.blocks[block], place, to.photo.input),
    method: to.methods.some(({ id }) => id === now.method) ? now.method : to.methods[0]?.id ?? "",
    cls: Math.min(now.cls, Math.max(0, to.model.classes - 1)),
  };
}
export const chooseSide = (app: App, side: "A" | "B") => assign(app.state, selectSide(app, side));

// Keep the address in step with the state, and the state with the address.
export function linkAddress(app: App): () => void {
  let timer = 0;
  const keep = effect(() => {
    const hash = write(snapshot(app.state), app.traces.length, app.place);
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      // Browsers slow down or refuse an address that changes with every move of the pointer.
      try { history.replaceState(null, "", hash); } catch { /* a sealed frame has no address of its own */ }
    }, 200);
  });
  const listen = () => assign(app.state, parse(location.hash, snapshot(app.state), app.traces));
  addEventListener("hashchange", listen);
  return () => { keep(); clearTimeout(timer); removeEventListener("hashchange", listen); };
}
