// Every head of a block side by side for the chosen token: what it attends to, and how much of that
// position alone explains.
import type { JSX } from "preact";
import { useCallback, useMemo } from "preact/hooks";
import { keyName, placeWords, useQuery, type QueryData } from "../query";
import { byWeight, closeOf, drawPixels, drawSmall } from "../closeup";
import { BIAS, colour } from "../draw/colour";
import { placeText, prelude } from "../python";
import type { App } from "../state";
import { Figure, type TableData } from "../ui/Figure";
import { Switch } from "../ui/Switch";
import { useLoaded, usePaint } from "../ui/hooks";
import type { View } from "../view";
import { blockName, capital } from "../words";
import { NoHeads, Stats, statsOf, type HeadStats } from "./stats";

const SORTS = [{ id: "index", label: "number" }, { id: "distance", label: "distance" }, { id: "entropy", label: "entropy" }] as const;

function Heads({ app }: { app: App }): JSX.Element {
  const { queryData, error } = useQuery(app, { heads: true });
  const trace = app.trace.value;
  const index = app.state.block.value;
  const facts = trace.manifest.blocks[index];
  const { value: stats } = useLoaded(() => statsOf(trace, index), [trace, index]);
  const now = queryData.value;
  const fresh = now && now.block === index ? now : null;
  const order = stats && stats.length === facts.heads ? sorted(stats, app.state.sort.value) : null;
  return (
    <div class="heads-view">
      <div class="bar">
        <h2>{capital(blockName(facts))}: {facts.heads === 1 ? "its one head" : `its ${facts.heads} heads`}</h2>
        {facts.heads > 1 && <div class="sort"><span id="heads-sort">sorted by</span>
          <Switch label="Sort the heads by" choices={SORTS} value={app.state.sort.value}
            onChange={(by) => { app.state.sort.value = by; app.say(`Sorted by ${by === "index" ? "number" : by}.`); }} /></div>}
      </div>
      <p class="note">
        Each head divides the attention of a token in its own way; the block works with all of them at once. Choose one to see it
        everywhere.
      </p>
      {error.value && <p class="warning" role="alert">{error.value}</p>}
      {fresh && order && <Multiples app={app} queryData={fresh} order={order} stats={stats as HeadStats[]} />}
      {order && <Stats app={app} trace={trace} index={index} stats={stats as HeadStats[]} order={order} />}
    </div>
  );
}

function sorted(stats: HeadStats[], by: "index" | "distance" | "entropy"): number[] {
  const order = stats.map((_, head) => head);
  return by === "index" ? order : order.sort((a, b) => stats[a][by] - stats[b][by] || a - b);
}

interface Props { app: App; queryData: QueryData; order: number[]; stats: HeadStats[] }

function Multiples({ app, queryData, order, stats }: Props): JSX.Element {
  const { row, facts } = queryData;
  const table = useCallback(() => headTable(queryData), [queryData]);
  const numbers = useCallback(() => {
    const all = row.heads ?? [row.mean];
    return { shape: [all.length, row.mean.length], data: Float32Array.from(all.flatMap((weights) => Array.from(weights))) };
  }, [queryData]);
  const apart = row.bias !== null && row.heads !== null;
  return (
    <Figure app={app} id="heads" title={`Where each head looks from ${placeWords(facts, row.token)}`} table={table} numbers={numbers}
      python={() => headsCode(app)} caption={apart ? BIAS_WORDS : row.heads && NO_BIAS}>
      {row.heads ? null : <NoHeads app={app} queryData={queryData} />}
      <div class="multiples" role="group" aria-label="Heads">
        <Pixels queryData={queryData} />
        <Multiple app={app} queryData={queryData} head={-1} stats={null} />
        {row.heads && order.map((head) => <Multiple key={head} app={app} queryData={queryData} head={head} stats={stats[head]} />)}
      </div>
    </Figure>
  );
}

const BIAS_WORDS = "Below each head, the two parts that its scores are the sum of: the bias, which the model learned for positions "
  + "alone, the same on every photo; and the rest, which the data decide (the logarithm of the weight, less the bias; known up to "
  + "one constant for the row). A score counts only against the others of its row, so both are drawn about their own mean, in the "
  + "same colours: yellow raises the weight, blue lowers it.";
const NO_BIAS = "This block adds no bias for positions, or this trace keeps none of it: the scores are shown whole.";

// What the keys show, to compare the heads with.
function Pixels({ queryData }: { queryData: QueryData }): JSX.Element {
  const image = useLoaded(() => queryData.trace.image("shown"), [queryData.trace]).value;
  const ref = usePaint((canvas, width) => { if (image) drawPixels(canvas, closeOf(queryData), image, width); }, [queryData, image]);
  return (
    <div class="multiple pixels-of">
      <p class="head-name">the keys’ pixels</p>
      <div class="head-map"><canvas ref={ref} role="img" aria-label="The keys’ parts of the photo" /></div>
    </div>
  );
}

interface MultipleProps { app: App; queryData: QueryData; head: number; stats: HeadStats | null }

function Multiple({ app, queryData, head, stats }: MultipleProps): JSX.Element {
  const { row } = queryData;
  const weights = head < 0 ? row.mean : (row.heads as Float32Array[])[head];
  const chosen = app.state.head.value === head;
  const map = usePaint((canvas, width) => drawSmall(canvas, closeOf(queryData), weights, width, byWeight(weights)), [queryData, head]);
  const name = head < 0 ? "mean" : `head ${head + 1}`;
  const figures = stats ? `, looks ${stats.distance.toFixed(1)} pixels far, entropy ${stats.entropy.toFixed(2)} nats` : "";
  const choose = (): void => {
    app.state.head.value = head;
    app.say(head < 0 ? "The mean of all heads is chosen." : `Head ${head + 1} is chosen.`);
  };
  return (
    <button type="button" class="multiple" data-head={head} aria-pressed={chosen} title={`${head < 0 ? "mean of all heads" : name}${figures}`}
      onClick={choose}>
      <span class="head-name">{name}</span>
      <span class="head-map"><canvas ref={map} aria-hidden="true" /></span>
      {stats && <span class="head-stats">{stats.distance.toFixed(1)} px, {stats.entropy.toFixed(2)} nats</span>}
      {head >= 0 && row.bias && <Terms queryData={queryData} weights={weights} bias={row.bias[head]} />}
    </button>
  );
}

export interface Centred { bias: Float32Array; data: Float32Array; most: number }

// The two parts of a head's scores for one token, each about its mean over the keys that may be seen.
// Weights that are stored as nothing have no logarithm: NaN.
export function terms(weights: Float32Array, bias: Float32Array, allowed: Uint8Array): Centred {
  const data = weights.map((weight, key) => (allowed[key] && weight > 0 ? Math.log(weight) - bias[key] : NaN));
  const held = bias.map((value, key) => (allowed[key] ? value : NaN));
  const [first, second] = [centred(held), centred(data)];
  const most = Math.max(1e-6, ...[...first, ...second].filter((value) => !Number.isNaN(value)).map(Math.abs));
  return { bias: first, data: second, most };
}

function centred(values: Float32Array): Float32Array {
  const known = values.filter((value) => !Number.isNaN(value));
  const mean = known.reduce((sum, value) => sum + value, 0) / Math.max(1, known.length);
  return values.map((value) => value - mean);
}

interface TermsProps { queryData: QueryData; weights: Float32Array; bias: Float32Array }

function Terms({ queryData, weights, bias }: TermsProps): JSX.Element {
  const parts = useMemo(() => terms(weights, bias, queryData.row.allowed), [queryData, weights, bias]);
  const shade = (value: number): [number, number, number] =>
    (Number.isNaN(value) ? colour(0, BIAS) : colour(0.5 + value / (2 * parts.most), BIAS));
  const first = usePaint((canvas, width) => drawSmall(canvas, closeOf(queryData), parts.bias, width, shade), [parts]);
  const second = usePaint((canvas, width) => drawSmall(canvas, closeOf(queryData), parts.data, width, shade), [parts]);
  return (
    <span class="terms" data-most={parts.most.toFixed(3)}>
      <span><span class="head-map"><canvas ref={first} aria-hidden="true" /></span>bias</span>
      <span><span class="head-map"><canvas ref={second} aria-hidden="true" /></span>data</span>
    </span>
  );
}

// One line a key: its token, and the weight in every head.
function headTable(queryData: QueryData): TableData {
  const { row, grid, slot, facts } = queryData;
  const heads = row.heads ?? [];
  return {
    columns: [
      "key", "token", "mean", ...heads.map((_, head) => `head ${head + 1}`), ...(row.bias ?? []).map((_, head) => `bias ${head + 1}`),
    ],
    rows: Array.from(row.keys, (_, key) => [
      String(key + 1), `${keyName(queryData, key)}${grid.sees(slot, row.group, key) ? "" : " (masked)"}`, row.mean[key],
      ...heads.map((weights) => weights[key]), ...(row.bias ?? []).map((bias) => bias[key]),
    ]),
    data: (key) => ({
      "data-token": row.keys[key], "data-weight": row.mean[key].toFixed(7), "data-standing": grid.standing(slot, key),
      "data-heads": heads.map((weights) => weights[key].toFixed(7)).join(" "), "data-stage": facts.stage,
    }),
  };
}

function headsCode(app: App): string {
  const block = app.trace.value.manifest.blocks[app.state.block.value];
  return [
    prelude(app),
    `block = trace.blocks[${app.state.block.value}]  # ${block.name}: ${block.title}`,
    `rows = [block.row(${placeText(app)}, head=head) for head in range(block.heads)]  # each sums to 1`,
  ].join("\n");
}

export const heads: View = { id: "heads", title: "Heads", Component: Heads };
