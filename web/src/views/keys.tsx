// Beside the picture: the token in numbers, its keys cut out, its heads in small, what it looks at most.
import type { ComponentChildren, JSX } from "preact";
import { useCallback } from "preact/hooks";
import { factsOf, keyName, weightsOf, type QueryData } from "../query";
import { byWeight, closeOf, drawPixels, drawSmall, drawWeights, keyAt } from "../closeup";
import { colour, css } from "../draw/colour";
import { greatest } from "../draw/heat";
import { rowCode } from "../python";
import type { App } from "../state";
import { Figure, type TableData } from "../ui/Figure";
import { useLoaded, usePaint } from "../ui/hooks";
import { share, tokenWords } from "../words";
import type { Look } from "./look";

interface Props { app: App; queryData: QueryData; look: Look }

export function Readout({ app, queryData, look }: Props): JSX.Element {
  const { facts, row, wanted } = queryData;
  const head = app.state.head.value;
  const weights = weightsOf(row, head);
  const key = look.key.value >= 0 && look.key.value < weights.length ? look.key.value : -1;
  const which = head < 0 || !row.heads ? `mean of ${facts.heads} heads` : `head ${head + 1}`;
  return (
    <>
      Query: <b>{tokenWords(facts, row.token)}</b>, {which}.{" "}
      {key >= 0 && <span data-key={key}>Key pointed at: {keyName(queryData, key)},{" "}
        {amount(queryData, key, weights)}. </span>}
      {row.token !== wanted && <span>Only some tokens are kept in this report; this is the nearest. </span>}
      {look.kept.value && !queryData.hovered && (
        <button type="button" class="let-go" data-let-go onClick={() => { look.kept.value = false; }}>let go</button>
      )}
    </>
  );
}

function amount({ grid, slot }: QueryData, key: number, weights: Float32Array): string {
  return grid.standing(slot, key) === "masked" ? "masked, 0" : share(weights[key]);
}

// The picture's frame: its numbers as a table, as a file, and as Python.
export function KeysFigure({ app, queryData, readout, children }:
  { app: App; queryData: QueryData; readout: ComponentChildren; children: ComponentChildren }): JSX.Element {
  const head = app.state.head.value;
  const table = useCallback(() => keyTable(queryData, head), [queryData, head]);
  const numbers = useCallback(() => {
    const data = weightsOf(queryData.row, head);
    return { shape: [data.length], data };
  }, [queryData, head]);
  return (
    <Figure app={app} id="canvas" title="How the marked token divides its attention" readout={readout} table={table}
      numbers={numbers} python={() => rowCode(app)}>
      {children}
    </Figure>
  );
}

function keyTable(queryData: QueryData, head: number): TableData {
  const { grid, row, slot, facts } = queryData;
  const group = grid.group(slot);
  const weights = weightsOf(row, head);
  const keys = Array.from(row.keys, (_, key) => key);
  return {
    columns: ["key", facts.prefix || !facts.cut ? "what" : "token", "state", "weight"],
    rows: keys.map((key) => [String(key + 1), `${keyName(queryData, key)}${key === grid.ownKey(slot) ? " (itself)" : ""}`,
      grid.standing(slot, key), weights[key]]),
    data: (key) => ({
      "data-token": row.keys[key], "data-weight": weights[key].toFixed(7), "data-standing": grid.standing(slot, key),
      "data-box": grid.box(group, key)?.join() ?? "", class: grid.standing(slot, key),
    }),
  };
}

export function Panel({ app, queryData, look }: Props): JSX.Element {
  const { trace, row } = queryData;
  const head = app.state.head.value;
  return (
    <aside class="canvas-panel" aria-label="The token in numbers">
      <h3>The token</h3>
      <dl class="facts" data-facts>
        {factsOf(queryData, head, trace.manifest.photo.input).map(({ name, value }) => (
          <div key={name} data-fact={name}><dt>{name}</dt><dd>{value}</dd></div>
        ))}
      </dl>
      <h3>Its keys, cut out</h3>
      <Closeups app={app} queryData={queryData} look={look} />
      <h3>Heads</h3>
      <Strip app={app} queryData={queryData} />
      {!row.heads && <p class="note">{trace.hasHeads(queryData.block) ? "Choose a head to have it computed."
        : `Only the mean of this block’s ${queryData.facts.heads} heads is kept in this report.`}</p>}
      <h3>Where its attention goes</h3>
      <Top queryData={queryData} head={head} />
    </aside>
  );
}

function Closeups({ app, queryData, look }: Props): JSX.Element {
  const head = app.state.head.value;
  const weights = weightsOf(queryData.row, head);
  const seen = useLoaded(() => queryData.trace.image("shown"), [queryData.trace]).value;
  const close = closeOf(queryData);
  const pixels = usePaint((canvas, width) => { if (seen) drawPixels(canvas, close, seen, width); }, [queryData, seen]);
  const heat = usePaint((canvas, width) => drawWeights(canvas, close, weights, greatest(weights), width), [queryData, head]);
  const table = queryData.grid.table(queryData.grid.group(queryData.slot));
  const read = (event: MouseEvent): number => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return keyAt(queryData.grid, queryData.grid.group(queryData.slot),
      [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width]);
  };
  return (
    <div class="closeups">
      <div><div><canvas ref={pixels} role="img" aria-label="The keys’ parts of the photo" /></div><p>their pixels</p></div>
      <div>
        <div><canvas ref={heat} role="img" aria-label="The keys’ weights" data-close
          onPointerMove={(event) => { look.key.value = read(event); }} onClick={(event) => { look.key.value = read(event); }}
          onPointerLeave={(event) => { if (event.pointerType !== "touch") look.key.value = -1; }} /></div>
        <p>their weights{table.listed ? ", as a list" : ""}{Math.max(table.rows, table.columns) <= 8 ? ", in %" : ""}</p>
      </div>
    </div>
  );
}

// The heads in small; to compare them at leisure there is a view of its own.
function Strip({ app, queryData }: { app: App; queryData: QueryData }): JSX.Element {
  const { facts, trace, block } = queryData;
  const heads = trace.hasHeads(block) ? Array.from({ length: facts.heads }, (_, head) => head) : [];
  return (
    <div class="strip" role="group" aria-label="Heads">
      {[-1, ...heads].map((head) => <Head key={head} app={app} queryData={queryData} head={head} />)}
    </div>
  );
}

function Head({ app, queryData, head }: { app: App; queryData: QueryData; head: number }): JSX.Element {
  const weights = head < 0 ? queryData.row.mean : queryData.row.heads?.[head] ?? null;
  const ref = usePaint((canvas) => {
    if (weights) drawSmall(canvas, closeOf(queryData), weights, 40, byWeight(weights));
  }, [queryData, head]);
  const chosen = app.state.head.value === head;
  return (
    <button type="button" data-head={head} aria-pressed={chosen} aria-label={head < 0 ? "mean of all heads" : `head ${head + 1}`}
      onClick={() => { app.state.head.value = head; }}>
      <div><canvas ref={ref} aria-hidden="true" class={weights ? "" : "none"} /></div>
      <span>{head < 0 ? "mean" : head + 1}</span>
    </button>
  );
}

function Top({ queryData, head }: { queryData: QueryData; head: number }): JSX.Element {
  const { grid, row, slot } = queryData;
  const weights = weightsOf(row, head);
  const most = greatest(weights) || 1;
  const order = Array.from(weights.keys()).filter((key) => row.allowed[key]).sort((a, b) => weights[b] - weights[a]).slice(0, 5);
  return (
    <table class="top-keys">
      <thead><tr><th scope="col">key</th><th scope="col">token</th><th scope="col">weight</th></tr></thead>
      <tbody>
        {order.map((key) => (
          <tr key={key} data-top={key}>
            <td><i style={{ background: css(colour(weights[key] / most)) }} /> {key + 1}</td>
            <td>{keyName(queryData, key)}{key === grid.ownKey(slot) ? " (itself)" : ""}</td>
            <td class="number">{share(weights[key])}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
