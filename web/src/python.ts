// "Copy Python": the same numbers as on the page, in a few lines that run.
import type { App } from "./state";

// How to get the trace that the page shows. `traced` is its name in the lines that follow.
export function prelude(app: App): string {
  const { python } = app.trace.value.manifest;
  return [
    "import vitrail",
    "",
    `model = ${python.model}`,
    `report = vitrail.explore(model, ${python.photo}, size=(${python.size.join(", ")}))`,
    "trace = report.trace",
  ].join("\n");
}

// The chosen block's row of the chosen token and head.
export function rowCode(app: App): string {
  const { state } = app;
  const block = app.trace.value.manifest.blocks[state.block.value];
  const at = state.token.value - block.prefix;
  const place = at < 0 ? String(state.token.value) : `(${Math.floor(at / block.spatial[1])}, ${at % block.spatial[1]})`;
  const head = state.head.value < 0 ? "None" : String(state.head.value);
  return [
    prelude(app),
    `block = trace.blocks[${state.block.value}]  # ${block.name}: ${block.title}`,
    `row = block.row(${place}, head=${head})  # one weight for each key of the group, in order; sums to 1`,
    `grid = block.attends(${place}, head=${head})  # the same at their places in the photo`,
  ].join("\n");
}
