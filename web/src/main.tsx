// Start the page: in a report, on the local server, or in a notebook's cell.
import { computed, signal } from "@preact/signals";
import { render as draw } from "preact";
import "./style/index.css";
import { mountFigures } from "./figures";
import { Shell } from "./shell";
import { linkSelection, notebookSources, type WidgetModel } from "./sources/notebook";
import type { Manifest } from "./schema";
import { reportSources } from "./sources/report";
import type { Mounting } from "./host";
import { startServer } from "./hosting";
import { assign, defaults, linkAddress, makeState, parse, snapshot, type App } from "./state";
import { TraceView } from "./trace";

export interface Mounted { app: App; stop(): void; update(side: number, manifest: Manifest): void }

export async function mount({ sources, host, root, place = {} }: Mounting): Promise<Mounted> {
  const shown = signal(sources.map((source) => new TraceView(source)));
  const traces = shown.value;
  const first = defaults(traces[0]);
  const addressed = host !== "notebook";
  const hash = addressed ? location.hash : "";
  const fields = new URLSearchParams(hash.slice(1));
  // Without a view in the address the tour begins.
  const state = makeState(parse(hash, { ...first, step: fields.size ? -1 : 0 }, traces));
  const said = signal("");
  let pause = 0;
  const app: App = {
    get traces() { return shown.value; },
    state, host, root, said, place,
    trace: computed(() => shown.value[state.side.value === "B" ? 1 : 0] ?? shown.value[0]),
    // After a pause, so that a held key does not flood a screen reader.
    say: (text) => { clearTimeout(pause); pause = window.setTimeout(() => { said.value = text; }, 250); },
    reduced: matchMedia("(prefers-reduced-motion: reduce)").matches,
  };
  await Promise.all(traces.flatMap((trace) => [trace.image("seen"), trace.image("shown"), trace.block(state.block.value)?.load()]));
  if (!root.closest(".vitrail")) root.classList.add("vitrail");
  root.replaceChildren();
  draw(<Shell app={app} />, root);
  const unlink = addressed ? linkAddress(app) : () => undefined;
  await new Promise(requestAnimationFrame);
  root.dataset.ready = "true";
  if (addressed) {
    performance.mark("vitrail-ready");
    document.documentElement.dataset.ready = "true";
    Object.assign(window, { vitrail: { app } });
  }
  const stop = () => {
    unlink();
    clearTimeout(pause);
    draw(null, root);
    delete root.dataset.ready;
  };
  // More of a trace is there: it takes the place of what was shown, and nothing that was chosen changes.
  const update = (side: number, manifest: Manifest) => {
    shown.value = shown.value.map((trace, i) => (i === side ? new TraceView({ ...trace.source, manifest, has: (name) => name in manifest.arrays }, trace) : trace));
    const { methods } = app.trace.value.manifest;
    if (!state.method.value) state.method.value = (methods.find(({ id }) => id === fields.get("method")) ?? methods[0])?.id ?? "";
  };
  return { app, stop, update };
}

// anywidget's entry: a widget's model and the element of its cell.
async function render({ model, el, signal: ended }: { model: WidgetModel; el: HTMLElement; signal?: AbortSignal }): Promise<() => void> {
  const sources = notebookSources(model);
  const dispose = (): void => sources.forEach((source) => source.dispose?.());
  const root = document.createElement("div");
  root.textContent = "Waiting for the kernel, which answers when no cell runs…";
  el.append(root);
  let end = dispose;
  const close = (): void => end();
  ended?.addEventListener("abort", close, { once: true });
  try {
    const { app, stop } = await mount({ sources, host: "notebook", root });
    const unlink = linkSelection(app, model);
    end = () => { unlink(); stop(); dispose(); };
    if (ended?.aborted) close();
  } catch (error) {
    root.textContent = `Vitrail could not show this: ${error instanceof Error ? error.message : String(error)}`;
  }
  return close;
}

const root = document.querySelector<HTMLElement>("[data-vitrail], [data-server]");
if (root && document.getElementById("manifest:0")) void mount({ sources: reportSources(document), host: "report", root });
else if (document.querySelector("[data-vitrail-figure]")) mountFigures(document, reportSources(document));
else if (root?.dataset.server !== undefined) void startServer(root, mount);

export { assign, snapshot };
export default { render };
