// "Copy Python": the same numbers as on the page, in a few lines that run.
import type { App } from "./state";

// How to get the trace that the page shows; it is called `trace` in the lines that follow.
export function prelude(app: App): string {
  const { python } = app.trace.value.manifest;
  const model = /^import vitrail$/m.test(python.model) ? python.model : `import vitrail\n${python.model}`;
  return [
    model,
    python.photo,
    `report = vitrail.explore(model, photo, size=(${python.size.join(", ")}))`,
    "trace = report.trace",
  ].join("\n");
}

// A token as Python names it: its row and column, or the number of a prefix token.
export function placeText(app: App, token = app.state.token.value): string {
  const block = app.trace.value.manifest.blocks[app.state.block.value];
  const at = token - block.prefix;
  return at < 0 ? String(token) : `(${Math.floor(at / block.spatial[1])}, ${at % block.spatial[1]})`;
}

// The chosen block's row of the chosen token and head.
export function rowCode(app: App): string {
  const { state } = app;
  const block = app.trace.value.manifest.blocks[state.block.value];
  const place = placeText(app);
  const head = state.head.value < 0 ? "None" : String(state.head.value);
  return [
    prelude(app),
    `block = trace.blocks[${state.block.value}]  # ${block.name}: ${block.title}`,
    `row = block.row(${place}, head=${head})  # one weight for each key of the group, in order; sums to 1`,
    `grid = block.attends(${place}, head=${head})  # the same at their places in the photo`,
  ].join("\n");
}
