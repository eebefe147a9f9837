// Cost lab: what attention costs at other sizes and with other windows, for every mechanism.
import type { JSX } from "preact";
import { METRICS, nearest, reading, type Metric } from "../costs";
import { prelude } from "../python";
import type { Manifest } from "../schema";
import type { App } from "../state";
import { factor } from "../tour/words";
import { Chart, type Dot, type Line } from "../ui/Chart";
import { Figure, type TableData } from "../ui/Figure";
import { Pending, isPending } from "../ui/Pending";
import { Slider } from "../ui/Slider";
import { Switch } from "../ui/Switch";
import { scaled, share, times } from "../words";
import type { View } from "../view";

type Costs = Manifest["cost"];

function Cost({ app }: { app: App }): JSX.Element {
  const { manifest } = app.trace.value;
  const { cost } = manifest;
  if (isPending(manifest, "cost")) return <Pending what="Costs are" />;
  return (
    <div class="cost">
      {cost.sizes.length > 0 && cost.mechanisms.length > 0 && <Curves app={app} cost={cost} />}
      <div class="columns">
        {cost.windows.length > 0 && <Windows app={app} windows={cost.windows} />}
        <Stages app={app} stages={cost.stages} />
      </div>
    </div>
  );
}

export const cost: View = { id: "cost", title: "Cost", Component: Cost };

// ---- every mechanism at every size ---------------------------------------------------------------

interface Standing { id: string; label: string; model: string; value: number | null; doubling: number | null; tone: number }

function standings(cost: Costs, metric: Metric, size: number): Standing[] {
  return cost.mechanisms.map((mechanism, i) => ({
    id: mechanism.id, label: label(mechanism), model: mechanism.model, tone: toneOf(cost, i), ...reading(metric.of(cost, mechanism), size),
  })).sort((a, b) => (a.value ?? Infinity) - (b.value ?? Infinity));
}

// The explored model has the page's own colour.
const toneOf = ({ mechanisms }: Costs, at: number): number => (mechanisms[at].id === "this" ? 0 : mechanisms.slice(0, at).filter(({ id }) => id !== "this").length + 1);

const label = ({ id, label: words }: { id: string; label: string }): string => (id === "this" ? "this model" : words);

// Beside a line there is room for the name in brackets only: "windows, shifted (Swin)" is Swin there.
const brief = (mechanism: { id: string; label: string }): string => /\(([^)]+)\)$/.exec(label(mechanism))?.[1] ?? label(mechanism);

function Curves({ app, cost }: { app: App; cost: Costs }): JSX.Element {
  const { manifest } = app.trace.value;
  const metric = METRICS.find(({ id }) => id === app.state.metric.value) ?? METRICS[0];
  const offered = METRICS.filter(({ of }) => cost.mechanisms.some((mechanism) => of(cost, mechanism).length));
  const size = nearest(cost.sizes, app.state.size.value);
  const lines = cost.mechanisms.map((mechanism, i): Line => ({
    id: mechanism.id, label: brief(mechanism), points: metric.of(cost, mechanism), tone: toneOf(cost, i), strong: mechanism.id === "this",
    dashed: metric.id === "time" && !cost.measured.some(({ id }) => id === mechanism.id),
  })).filter(({ points }) => points.length);
  const ranked = standings(cost, metric, size);
  return (
    <section class="part curves">
      <div class="bar">
        <Switch label="What is counted" value={metric.id} onChange={(id) => { app.state.metric.value = id; }}
          choices={offered.map(({ id, title }) => ({ id, label: title }))} />
        <Slider label="Image" value={cost.sizes.indexOf(size)} min={0} max={cost.sizes.length - 1}
          words={(at) => `${times([cost.sizes[at], cost.sizes[at]])} pixels`} onInput={(at) => { app.state.size.value = cost.sizes[at]; }} />
      </div>
      <Figure app={app} id="cost" title={`${metric.title} by image size`} caption={`${metric.text} ${snapped(app, size)}`}
        table={() => curveTable(cost, metric)} python={() => costCode(app, manifest, size)}>
        <div class="with-ranking">
          <Chart title={titleOf(metric, ranked, size)} lines={lines} cursor={size} height={360}
            dots={metric.id === "time" ? dots(cost) : []}
            x={{ label: "height and width of the image, pixels", log: true, ticks: cost.sizes, format: String }}
            y={{ label: metric.axis, log: true, format: metric.say }} />
          <Ranking ranked={ranked} metric={metric} size={size} />
        </div>
      </Figure>
    </section>
  );
}

// A wish that is not among the given sizes is never interpolated: the nearest one is shown, and named.
function snapped(app: App, size: number): string {
  const wish = app.state.size.value;
  return wish === size ? "Only the marked sizes were counted; nothing between them is guessed."
    : `Counted at the marked sizes only: ${size} is the nearest to ${wish}.`;
}

function titleOf(metric: Metric, ranked: Standing[], size: number): string {
  const said = ranked.flatMap(({ label: name, value }) => (value === null ? [] : [`${name} ${metric.say(value)}`]));
  return `${metric.title} by image size, both axes logarithmic. At ${size} pixels: ${said.join(", ")}.`;
}

function dots(cost: Costs): Dot[] {
  return cost.measured.flatMap(({ id, size, ms }) => {
    const at = cost.mechanisms.findIndex((mechanism) => mechanism.id === id);
    return at < 0 ? [] : [{ id, x: size, y: ms, tone: toneOf(cost, at), label: `${label(cost.mechanisms[at])} at ${size}: ${Number(ms.toPrecision(3))} ms, measured` }];
  });
}

function Ranking({ ranked, metric, size }: { ranked: Standing[]; metric: Metric; size: number }): JSX.Element {
  const most = Math.max(...ranked.map(({ value }) => value ?? 0));
  const own = ranked.find(({ id }) => id === "this")?.value ?? null;
  return (
    <div class="ranking">
      <h4>At {times([size, size])} pixels</h4>
      <ol>
        {ranked.map(({ id, label: name, model, value, doubling, tone }) => (
          <li key={id} class={`tone-${tone}${id === "this" ? " own" : ""}`} data-mechanism={id} data-value={value ?? ""}>
            <span class="label" title={model}>{name}</span>
            <span class="number">{value === null ? "not counted" : metric.say(value)}</span>
            <span class="bar-back" aria-hidden="true"><span class="bar-fill" style={{ width: `${(100 * (value ?? 0)) / most}%` }} /></span>
            <span class="note">
              {own && value && id !== "this" ? `${factor(value / own)} × this model` : ""}
              {own && value && id !== "this" && doubling ? "; " : ""}
              {doubling ? `twice the side: × ${factor(doubling)}` : ""}
            </span>
          </li>
        ))}
      </ol>
    </div>
  );
}

function curveTable(cost: Costs, metric: Metric): TableData {
  const rows = cost.mechanisms.flatMap((mechanism) => metric.of(cost, mechanism).map(([size, value]) => ({ mechanism, size, value })));
  const measured = metric.id === "time" ? cost.measured : [];
  return {
    columns: ["mechanism", "model", "size", metric.axis, ...(metric.id === "time" ? ["measured ms"] : [])],
    rows: rows.map(({ mechanism, size, value }) => [
      mechanism.label, mechanism.model, size, value,
      ...(metric.id === "time" ? [measured.find((point) => point.id === mechanism.id && point.size === size)?.ms ?? ""] : []),
    ]),
    data: (row) => ({ "data-mechanism": rows[row].mechanism.id, "data-size": rows[row].size, "data-value": rows[row].value }),
  };
}

function costCode(app: App, manifest: Manifest, size: number): string {
  return [
    prelude(app),
    "from vitrail.analysis import cost",
    `here = cost(model, (${manifest.photo.input.join(", ")}), training=False)  # ${manifest.model.name} as it is explored`,
    `there = cost(model, ${size}, training=False)  # the same model on a square of ${size} pixels`,
    "print(there.flops.total, sum(s.flops.attention for s in there.stages), there.inference_peak, there.pairs)",
  ].join("\n");
}

// ---- the explored model: windows and stages ------------------------------------------------------

function Windows({ app, windows }: { app: App; windows: Costs["windows"] }): JSX.Element {
  const given = windows.map(({ window }) => window);
  const chosen = nearest(given, app.state.window.value);
  const own = app.trace.value.manifest.blocks.find((block) => block.cut)?.cut?.window[0];
  const at = windows.find(({ window }) => window === chosen) ?? windows[0];
  const most = Math.max(...windows.map(({ flops }) => flops));
  return (
    <section class="part windows">
      <Slider label="Window" value={given.indexOf(chosen)} min={0} max={given.length - 1}
        words={(i) => `${times([given[i], given[i]])} tokens`} onInput={(i) => { app.state.window.value = given[i]; }} />
      <Figure app={app} id="windows" title="Other windows on this image"
        caption={`With windows of ${times([at.window, at.window])} this model needs ${scaled(at.flops, "FLOP")}; ${at.padding > 0 ? share(at.padding) : "none"} of the places for tokens hold padding, and after the first stage the middle token can know of ${at.reach} pixels.`}
        table={() => ({
          columns: ["window", "operations", "padding share", "reach, pixels"],
          rows: windows.map(({ window, flops, padding, reach }) => [window, flops, padding, reach]),
          data: (row) => ({ "data-window": windows[row].window }),
        })}
        python={() => `${prelude(app)}\nwindows = report.manifest["cost"]["windows"]`}>
        <table class="plain">
          <thead><tr><th scope="col">window</th><th scope="col">operations</th><th scope="col">padding</th><th scope="col">reach</th></tr></thead>
          <tbody>
            {windows.map(({ window, flops, padding, reach }) => (
              <tr key={window} class={window === chosen ? "chosen" : ""} data-window={window} aria-current={window === chosen}>
                <th scope="row">{window}{window === own ? " (own)" : ""}</th>
                <td><Amount part={flops / most} words={scaled(flops, "FLOP")} /></td>
                <td class={padding > 0 ? "" : "soft"}><Amount part={padding} words={padding > 0 ? share(padding) : "none"} /></td>
                <td class="number">{reach} px</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Figure>
    </section>
  );
}

function Amount({ part, words }: { part: number; words: string }): JSX.Element {
  return <span class="amount"><span class="bar-back" aria-hidden="true"><span class="bar-fill" style={{ width: `${100 * part}%` }} /></span><span>{words}</span></span>;
}

const PARTS = ["attention", "projections", "mlp", "rest"] as const;
const SAID = { attention: "attention", projections: "projections", mlp: "perceptrons", rest: "merging" };

function Stages({ app, stages }: { app: App; stages: Costs["stages"] }): JSX.Element {
  const { photo, model } = app.trace.value.manifest;
  const sum = (stage: Costs["stages"][number]): number => PARTS.reduce((total, part) => total + stage[part], 0);
  const most = Math.max(...stages.map(sum), 1);
  return (
    <section class="part stages">
      <Figure app={app} id="stages" title={`Where ${model.name} spends it, at ${times(photo.input)} pixels`}
        caption="Bars are operations of each stage, to one scale; from the darkest part on: attention, its projections, perceptrons, merging."
        table={() => ({
          columns: ["stage", "tokens", "channels", ...PARTS.map((part) => SAID[part]), "pairs", "bytes", "reach, rows", "reach, columns", "share of pixels"],
          rows: stages.map((stage) => [stage.stage + 1, stage.tokens, stage.dim, ...PARTS.map((part) => stage[part]), stage.pairs, stage.memory, ...stage.reach, stage.seen]),
          data: (row) => ({ "data-stage": stages[row].stage }),
        })}
        python={() => `${prelude(app)}\nfrom vitrail.analysis import cost\nstages = cost(model, (${photo.input.join(", ")}), training=False).stages`}>
        <ol class="spent">
          {stages.map((stage) => (
            <li key={stage.stage} data-stage={stage.stage}>
              <span class="label">Stage {stage.stage + 1}</span>
              <span class="number">{scaled(sum(stage), "FLOP")}</span>
              <span class="stack" role="img" aria-label={PARTS.map((part) => `${SAID[part]} ${share(stage[part] / Math.max(1, sum(stage)))}`).join(", ")}>
                {PARTS.map((part) => <i key={part} class={part} style={{ width: `${(100 * stage[part]) / most}%` }} title={`${SAID[part]}: ${scaled(stage[part], "FLOP")}`} />)}
              </span>
              <span class="note">
                {scaled(stage.tokens)} tokens of {stage.dim} channels; {scaled(stage.pairs)} pairs; {scaled(stage.memory, "B")}; a token can know
                of {times(stage.reach)} pixels ({share(stage.seen)})
              </span>
            </li>
          ))}
        </ol>
      </Figure>
    </section>
  );
}
