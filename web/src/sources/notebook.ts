// A notebook: the manifests and the selection are traits, arrays come as binary messages on request.
import { batch, effect, signal } from "@preact/signals";
import type { Manifest } from "../schema";
import { Kept, toArray, type ArrayData, type Dtype, type Source } from "../source";
import { assign, selectBlock, selectSide, snapshot, type App, type Selection } from "../state";

// What anywidget gives to render.
export interface WidgetModel {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  send(message: unknown): void;
  on(event: "msg:custom", listener: (message: Answer, buffers: DataView[]) => void): void;
  on(event: "change:selection" | "comm_live_update", listener: () => void): void;
  off(event: "msg:custom", listener: (message: Answer, buffers: DataView[]) => void): void;
  off(event: "change:selection" | "comm_live_update", listener: () => void): void;
}
interface Answer { id: string; dtype: Dtype; shape: number[]; part: number; parts: number; error?: string }
interface Pending { id: string; name: string; parts: Uint8Array[]; left: number; done(array: ArrayData): void; fail(error: unknown): void }

// A kernel answers in order: what was requested and is no longer wanted must not stand before what is.
const AT_ONCE = 4;
const PATIENCE = 15_000; // ms without a word before the page says that it waits

const GONE = "The kernel that computed this is gone. What was already shown stays; run the cell again for the rest.";
const SILENT = "The kernel has not answered for a while: it runs another cell, or is gone. What was already shown stays.";

export function notebookSources(model: WidgetModel): Source[] {
  return (model.get("manifests") as Manifest[]).map((manifest, side) => notebookSource(model, manifest, side));
}

function notebookSource(model: WidgetModel, manifest: Manifest, side: number): Source {
  const view = Math.random().toString(36).slice(2); // two views of one widget hear each other's answers
  const waiting: Pending[] = [];
  const pending = new Map<string, Pending>();
  const trouble = signal<string | null>(null);
  let count = 0;
  let gone = false;
  let clock = 0;

  // Every answer starts the clock anew; it runs while something is pending.
  const heard = (): void => {
    clearTimeout(clock);
    if (gone) return;
    trouble.value = null;
    if (pending.size) clock = window.setTimeout(() => { trouble.value = SILENT; }, PATIENCE);
  };
  const fail = (why: string): void => {
    clearTimeout(clock);
    for (const mine of [...waiting.splice(0), ...pending.values()]) mine.fail(new Error(why));
    pending.clear();
  };
  // The tie to the kernel was live when the page was made: a change of it is its end.
  const end = (): void => {
    gone = true;
    trouble.value = GONE;
    fail(GONE);
  };
  const next = (): void => {
    while (pending.size < AT_ONCE) {
      const mine = waiting.shift();
      if (!mine) return;
      pending.set(mine.id, mine);
      if (pending.size === 1) heard();
      model.send({ id: mine.id, kind: "array", side, name: mine.name });
    }
  };
  const listen = (answer: Answer, buffers: DataView[]): void => {
    const mine = pending.get(answer.id);
    if (!mine) return;
    heard();
    if (answer.error === undefined) {
      const { buffer, byteOffset, byteLength } = buffers[0];
      if (mine.left < 0) mine.left = answer.parts;
      mine.parts[answer.part] = new Uint8Array(buffer, byteOffset, byteLength);
      if (--mine.left > 0) return;
    }
    pending.delete(answer.id);
    if (!pending.size) clearTimeout(clock);
    next();
    if (answer.error !== undefined) { mine.fail(new Error(answer.error)); return; }
    try { mine.done(toArray(answer.dtype, answer.shape, joined(mine.parts))); } catch (error) { mine.fail(error); }
  };
  model.on("msg:custom", listen);
  model.on("comm_live_update", end);

  const request = (name: string, signal?: AbortSignal): Promise<ArrayData> => new Promise((done, fail) => {
    if (gone) { fail(new Error(GONE)); return; }
    const mine: Pending = { id: `${view}-${count++}`, name, parts: [], left: -1, done, fail };
    signal?.addEventListener("abort", () => {
      const place = waiting.indexOf(mine);
      if (place < 0) return; // requested already: the answer comes anyway, and is kept
      waiting.splice(place, 1);
      fail(signal.reason);
    });
    waiting.push(mine);
    next();
  });
  const kept = new Kept(request);
  return {
    manifest,
    trouble,
    has: (name) => name in manifest.arrays,
    array: (name, signal) => kept.array(name, signal),
    dispose: () => {
      model.off("msg:custom", listen);
      model.off("comm_live_update", end);
      fail("the page was closed");
    },
  };
}

function joined(parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

// Keep the trait in step with the state, and the state with what Python assigns.
export function linkSelection(app: App, model: WidgetModel): () => void {
  let [sent, timer]: [Partial<Selection>, number] = [{}, 0];
  const follow = (): void => {
    const given = model.get("selection") as Partial<Selection>;
    const known = Object.keys(given).filter((field) => field in app.state) as (keyof Selection)[];
    const changed = Object.fromEntries(known.filter((field) => given[field] !== sent[field]).map((field) => [field, given[field]])) as Partial<Selection>;
    sent = { ...sent, ...given };
    batch(() => {
      const { side, block, ...rest } = changed;
      if (side !== undefined && app.traces.length > 1) assign(app.state, selectSide(app, side));
      if (block !== undefined && block !== app.state.block.value) assign(app.state, selectBlock(app, block));
      assign(app.state, rest);
      // Who chooses what to see is not led by the tour.
      if (rest.step === undefined && (block !== undefined || rest.token !== undefined || rest.view !== undefined)) app.state.step.value = -1;
    });
  };
  follow();
  model.on("change:selection", follow);
  const keep = effect(() => {
    const now = snapshot(app.state);
    clearTimeout(timer);
    // Not with every move of the pointer: each change is a message to the kernel.
    timer = window.setTimeout(() => { sent = now; model.set("selection", now); model.save_changes(); }, 150);
  });
  return () => { keep(); clearTimeout(timer); model.off("change:selection", follow); };
}
