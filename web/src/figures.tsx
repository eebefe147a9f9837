// Single views of a trace inside another page, such as a course: one element each, with a state of its own.
import { computed, signal } from "@preact/signals";
import { render } from "preact";
import type { Source } from "./source";
import { assign, defaults, makeState, parse, tokenAt, type App } from "./state";
import { TraceView } from "./trace";
import { Boundary } from "./ui/Boundary";
import { pyramid, views } from "./views";

// What an element selects: `data-vitrail-figure="view=canvas&block=1&shift=0.5"`, `data-trace="0"`, and `corner` for the last token.
async function mountFigure(root: HTMLElement, traces: TraceView[]): Promise<void> {
  const wanted = root.dataset.vitrailFigure ?? "";
  const trace = traces[Number(root.dataset.trace ?? 0)] ?? traces[0];
  const state = makeState(parse(wanted, { ...defaults(trace), step: -1 }, [trace]));
  const block = trace.manifest.blocks[state.block.value];
  if (new URLSearchParams(wanted).has("corner")) assign(state, { token: tokenAt(block, [0.999, 0.999], trace.manifest.photo.input) });
  const shown = state.view.value === "pyramid" ? pyramid : views.find(({ id }) => id === state.view.value);
  if (!shown) throw new Error(`no view is called ${state.view.value}`);
  const said = signal("");
  const app: App = {
    traces: [trace], trace: computed(() => trace), state, host: "report", root, said, place: {},
    say: (text) => { said.value = text; },
    reduced: matchMedia("(prefers-reduced-motion: reduce)").matches,
  };
  await Promise.all([trace.image("seen"), trace.image("shown"), trace.block(state.block.value)?.load()]);
  const { Component, title } = shown;
  root.classList.add("vitrail");
  root.replaceChildren();
  render(
    <>
      {!trace.manifest.model.trained && <p class="warning">Untrained weights: which token may see which is right; weights and answers mean nothing.</p>}
      <div data-view={shown.id}><Boundary name={title}><Component app={app} /></Boundary></div>
      <p class="away" role="status" aria-live="polite">{said}</p>
    </>, root);
  root.dataset.ready = "true";
}

// Draw each figure when it comes near the visible part of the page: a course has many.
export function mountFigures(page: Document, sources: Source[]): void {
  const traces = sources.map((source) => new TraceView(source));
  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      const root = target as HTMLElement;
      mountFigure(root, traces).catch((error: unknown) => {
        root.textContent = `This figure cannot be shown: ${error instanceof Error ? error.message : String(error)}`;
        reportError(error);
      });
    }
  }, { rootMargin: "400px" });
  page.querySelectorAll("[data-vitrail-figure]").forEach((element) => seen.observe(element));
  page.documentElement.dataset.ready = "true";
}
