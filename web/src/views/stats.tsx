// How far, how widely and to what each head of a block looks, over all of its tokens.
import type { JSX } from "preact";
import { useCallback } from "preact/hooks";
import type { QueryData } from "../query";
import { prelude } from "../python";
import type { App } from "../state";
import type { TraceView } from "../trace";
import { Figure, type TableData } from "../ui/Figure";
import { share } from "../words";

export interface HeadStats { distance: number; entropy: number; self: number; padding: number; wrap: number }

export async function statsOf(trace: TraceView, block: number): Promise<HeadStats[]> {
  const { shape: [heads, count], data } = await trace.array(trace.manifest.blocks[block].stats);
  return Array.from({ length: heads }, (_, head) => {
    const [distance, entropy, self, padding, wrap] = data.subarray(head * count, head * count + count);
    return { distance, entropy, self, padding, wrap };
  });
}

const COLUMNS = [
  { id: "distance", name: "distance", unit: "pixels", says: "how far away what it attends to lies, on average" },
  { id: "entropy", name: "entropy", unit: "nats", says: "how widely it spreads: 0 for one key; the logarithm of the number of keys for all alike" },
  { id: "self", name: "itself", unit: "", says: "what a token gives to itself" },
  { id: "padding", name: "padding", unit: "", says: "what goes to places that hold no token" },
  { id: "wrap", name: "across the edge", unit: "", says: "what goes to tokens that only the roll made neighbours" },
] as const;

interface Props { app: App; trace: TraceView; index: number; stats: HeadStats[]; order: number[] }

export function Stats({ app, trace, index, stats, order }: Props): JSX.Element {
  const farthest = Math.max(1e-9, ...stats.map(({ distance }) => distance));
  const widest = Math.max(1e-9, ...stats.map(({ entropy }) => entropy));
  const table = useCallback((): TableData => ({
    columns: ["head", ...COLUMNS.map(({ name, unit }) => (unit ? `${name}, ${unit}` : name))],
    rows: stats.map((head, i) => [String(i + 1), ...COLUMNS.map(({ id }) => head[id])]),
    data: (i) => ({ "data-stats": i }),
  }), [stats]);
  const numbers = useCallback(() => ({
    shape: [stats.length, COLUMNS.length], data: Float32Array.from(stats.flatMap((head) => COLUMNS.map(({ id }) => head[id]))),
  }), [stats]);
  const code = (): string => [
    prelude(app), "from vitrail.explain import attention_stats",
    `stats = attention_stats(trace.blocks[${index}])  # a row a head: ${COLUMNS.map(({ name }) => name).join(", ")}`,
  ].join("\n");
  return (
    <Figure app={app} id="stats" title="How the heads differ, over all tokens" table={table} numbers={numbers} python={code}
      caption={<>{COLUMNS.map(({ id, name, says }) => <span key={id} class="says"><b>{name}</b>: {says}. </span>)}</>}>
      <div class="stats-scroll" tabIndex={0} role="region" aria-label="Statistics of the heads">
        <table class="stats" data-block={trace.manifest.blocks[index].name}>
          <thead><tr><th scope="col">head</th>{COLUMNS.map(({ id, name, unit }) => (
            <th scope="col" key={id} aria-sort={app.state.sort.value === id ? "ascending" : "none"}>{name}{unit && <small> {unit}</small>}</th>
          ))}</tr></thead>
          <tbody>
            {order.map((head) => (
              <tr key={head} data-stats-head={head} class={app.state.head.value === head ? "chosen" : ""}>
                <th scope="row"><button type="button" aria-pressed={app.state.head.value === head}
                  onClick={() => { app.state.head.value = head; }}>{head + 1}</button></th>
                <td data-value={stats[head].distance}>
                  <Meter part={stats[head].distance / farthest} said={stats[head].distance.toFixed(1)} />
                </td>
                <td data-value={stats[head].entropy}>
                  <Meter part={stats[head].entropy / widest} said={stats[head].entropy.toFixed(2)} />
                </td>
                {(["self", "padding", "wrap"] as const).map((id) => (
                  <td key={id} class="number" data-value={stats[head][id]}>{stats[head][id] === 0 ? "0" : share(stats[head][id])}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Figure>
  );
}

function Meter({ part, said }: { part: number; said: string }): JSX.Element {
  return (
    <span class="meter">
      <span class="bar-back" aria-hidden="true"><span class="bar-fill" style={{ width: `${100 * Math.max(0, Math.min(1, part))}%` }} /></span>
      <span class="number">{said}</span>
    </span>
  );
}

// Heads that are not there, said plainly, with the ways to get them.
export function NoHeads({ app, queryData }: { app: App; queryData: QueryData }): JSX.Element {
  const { heads } = queryData.facts;
  const { photo, model } = app.trace.value.manifest;
  return (
    <div class="warning" data-no-heads>
      <p>
        This report keeps only the mean of this block’s {heads} heads, to stay small. Three ways to see each of them: a smaller input
        (<code>--size</code>), the live page (<code>vitrail explore {photo.name} --serve</code>), or a notebook
        (<code>vitrail.explore(model, "{photo.name}")</code>), which compute them on demand. Model: {model.name}.
      </p>
    </div>
  );
}
