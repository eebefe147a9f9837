// Audit: how far the pictures can be trusted, what leaks, what was checked.
import type { JSX } from "preact";
import { leaks, sums, type Leak } from "../leaks";
import { prelude } from "../python";
import type { Manifest } from "../schema";
import { curves, scores, titleOf, verdict, type Curves, type Drawn, type Faithfulness } from "../scores";
import type { App } from "../state";
import { Chart, type Line } from "../ui/Chart";
import { Figure } from "../ui/Figure";
import { useLoaded } from "../ui/hooks";
import { Intervals } from "../ui/Intervals";
import { Pending, isPending } from "../ui/Pending";
import { blockName, brief, capital, count, share } from "../words";
import type { View } from "../view";

function Audit({ app }: { app: App }): JSX.Element {
  const { manifest } = app.trace.value;
  return (
    <div class="audit">
      {manifest.faithfulness ? <Trust app={app} found={manifest.faithfulness} /> : <>{isPending(manifest, "faithfulness") ? <Pending what="Scores of the maps are" /> : <Unscored manifest={manifest} />}<Leaks app={app} /></>}
      <Checks app={app} />
    </div>
  );
}

export const audit: View = { id: "audit", title: "Audit", Component: Audit };

// ---- faithfulness --------------------------------------------------------------------------------

function Unscored({ manifest }: { manifest: Manifest }): JSX.Element {
  return (
    <section class="part" data-unscored>
      <h3>How far can the maps be trusted?</h3>
      <p>
        No map was scored on this image{manifest.model.classes ? "" : ": the model has no classes, so there is no answer to watch fall"}.
        Take every map as an untested claim about routing.
      </p>
    </section>
  );
}

function Trust({ app, found }: { app: App; found: Faithfulness }): JSX.Element {
  const trace = app.trace.value;
  const { value: drawn, error } = useLoaded(() => curves(trace), [trace]);
  const { manifest } = trace;
  const chosen = found.curves.some(({ method }) => method === app.state.method.value) ? app.state.method.value : found.curves[0]?.method ?? "";
  const said = verdict(manifest, chosen);
  const study = found.study?.rows.find(({ method }) => method === chosen);
  const centre = found.study?.rows.find(({ method }) => method === "centre");
  const central = study && centre && study.deletion[0] < centre.deletion[0] && study.insertion[0] > centre.insertion[0];
  return (
    <section class="part trust">
      <h3>How far can the maps be trusted?</h3>
      <p class="lead" data-verdict={said ? String(said.deletion && said.insertion) : ""}>
        {said && <><b>{titleOf(manifest, chosen)}</b> is {said.words}. </>}
        {study && found.study && <>Over {count(found.study.images)} images of {found.study.dataset} it <b>{study.beats_random ? "beats random" : "does not beat random"}</b>{centre && (central ? ", and on average the centre outwards" : ", but not the centre outwards")}. </>}
        A map claims that its brightest pixels matter most. The test: hide them first and watch the answer fall; show them first and watch it rise.
      </p>
      {error && <p class="note">{error}</p>}
      {drawn && (
        <div class="columns">
          <CurveFigure app={app} drawn={drawn} which="deletion" chosen={chosen} />
          <CurveFigure app={app} drawn={drawn} which="insertion" chosen={chosen} />
        </div>
      )}
      <div class="columns">
        <div class="beneath"><ScoreTable app={app} chosen={chosen} /><Leaks app={app} /></div>
        {found.study && <Study app={app} study={found.study} manifest={manifest} />}
      </div>
    </section>
  );
}

const WORDS = {
  deletion: { title: "Hide the brightest first", x: "share of the pixels hidden", better: "the lower, the better" },
  insertion: { title: "Show the brightest first", x: "share of the pixels shown", better: "the higher, the better" },
};

function CurveFigure({ app, drawn, which, chosen }: { app: App; drawn: Drawn; which: "deletion" | "insertion"; chosen: string }): JSX.Element {
  const { title, x, better } = WORDS[which];
  const line = (curve: Curves, tone: number, more: Partial<Line> = {}): Line => ({ id: curve.id, label: curve.title, points: curve[which], tone, ...more });
  const lines = [
    line(drawn.random, 7, { dashed: true }), line(drawn.centre, 6, { dashed: true }),
    ...drawn.methods.map((curve, tone) => line(curve, tone, { strong: curve.id === chosen })),
  ];
  const { manifest } = app.trace.value;
  const areas = scores(manifest).map((score) => `${score.title} ${score[which].toFixed(3)}`).join(", ");
  return (
    <Figure app={app} id={which} title={title}
      python={() => [prelude(app), 'found = report.manifest["faithfulness"]',
        `curve = report.arrays.get("curve/${chosen}")[${which === "deletion" ? 0 : 1}]  # a probability for each of found["steps"]`].join("\n")}
      caption={`Probability of the answer; ${better}. The grey band holds random orders. Areas: ${areas}.`}
      table={() => ({
        columns: [x, ...lines.map(({ label }) => label), "random, low", "random, high"],
        rows: drawn.random[which].map(([at], i) => [at, ...lines.map(({ points }) => points[i][1]), drawn.low[which][i][1], drawn.high[which][i][1]]),
      })}
      numbers={() => ({ shape: [lines.length, lines[0].points.length], data: Float32Array.from(lines.flatMap(({ points }) => points.map(([, p]) => p))) })}>
      <Chart title={`${title}. ${areas}.`} lines={lines} height={250}
        band={{ low: drawn.low[which], high: drawn.high[which], label: "random orders" }}
        x={{ label: x, domain: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1], format: (n) => `${Math.round(100 * n)} %` }}
        y={{ label: "probability of the answer", domain: [0, 1], format: (n) => String(Number(n.toFixed(2))) }} />
    </Figure>
  );
}

function ScoreTable({ app, chosen }: { app: App; chosen: string }): JSX.Element {
  const { manifest } = app.trace.value;
  const rows = scores(manifest);
  return (
    <div>
      <h4>Areas under the curves, this image</h4>
      <table class="plain" data-scores>
        <thead><tr><th scope="col">map</th><th scope="col">hide first ↓</th><th scope="col">show first ↑</th><th scope="col">against random</th></tr></thead>
        <tbody>
          {rows.map(({ id, title, deletion, insertion }) => {
            const said = verdict(manifest, id);
            return (
              <tr key={id} class={id === chosen ? "chosen" : ""} data-method={id} data-deletion={deletion} data-insertion={insertion}>
                <th scope="row">{said ? <button type="button" class="link" aria-pressed={id === chosen} onClick={() => { app.state.method.value = id; }}>{title}</button> : title}</th>
                <td class="number">{deletion.toFixed(3)}</td>
                <td class="number">{insertion.toFixed(3)}</td>
                <td>{said ? `${said.deletion ? "✓" : "✗"} hide, ${said.insertion ? "✓" : "✗"} show` : "reference"}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function Study({ app, study, manifest }: { app: App; study: NonNullable<Faithfulness["study"]>; manifest: Manifest }): JSX.Element {
  const rows = study.rows.map((row) => ({ ...row, title: titleOf(manifest, row.method) }));
  const reference = (method: string): boolean => method === "random" || method === "centre";
  return (
    <Figure app={app} id="study" title={`The same over ${count(study.images)} images`}
      caption={`${capital(study.dataset)}; mean areas with their confidence intervals. ${rows.filter(({ method }) => !reference(method)).map(({ title, beats_random: beats }) => `${title} ${beats ? "beats random" : "does not beat random"}`).join("; ")}.`}
      table={() => ({
        columns: ["map", "hide first", "low", "high", "show first", "low", "high", "beats random"],
        rows: rows.map(({ title, deletion, insertion, beats_random: beats }) => [title, ...deletion, ...insertion, beats ? "yes" : "no"]),
        data: (row) => ({ "data-method": rows[row].method }),
      })}
      python={() => `${prelude(app)}\nstudy = report.manifest["faithfulness"]["study"]`}>
      <Intervals label="hide first: lower is better" rows={rows.map(({ method, title, deletion }) => ({ id: method, title, interval: deletion }))} />
      <Intervals label="show first: higher is better" rows={rows.map(({ method, title, insertion }) => ({ id: method, title, interval: insertion }))} />
    </Figure>
  );
}

// ---- leaks and sums ------------------------------------------------------------------------------

function Leaks({ app }: { app: App }): JSX.Element {
  const trace = app.trace.value;
  const { value: found, error } = useLoaded(() => leaks(trace), [trace]);
  const worst = (of: keyof Pick<Leak, "padding" | "wrap">): number => Math.max(0, ...(found ?? []).flatMap((leak) => leak[of]));
  const leaking = (found ?? []).filter(({ padding, wrap }) => Math.max(0, ...padding, ...wrap) > 0);
  const summary = found && `${sentence("padding", worst("padding"))} ${sentence("keys across the edge, which a roll brought near", worst("wrap"))}`;
  return (
    <section class="part leaks">
      <Figure app={app} id="leaks" title="Does attention leak?" caption={leaking.length ? summary : undefined}
        python={() => `${prelude(app)}\nfrom vitrail.explain import attention_stats\nleaks = [attention_stats(block)[:, 3:] for block in trace.blocks]  # heads; to padding, across the edge`}
        table={() => ({
          columns: ["block", "head", "to padding", "across the edge"],
          rows: (found ?? []).flatMap(({ block, padding, wrap }) => padding.map((p, head) => [blockName(trace.manifest.blocks[block]), head + 1, p, wrap[head]])),
          data: (row) => ({ "data-leak": row }),
        })}
        numbers={() => ({ shape: [2, (found ?? []).reduce((n, { padding }) => n + padding.length, 0)], data: Float32Array.from([...(found ?? []).flatMap(({ padding }) => padding), ...(found ?? []).flatMap(({ wrap }) => wrap)]) })}>
        {error && <p class="note">{error}</p>}
        {summary && !leaking.length && <p class="note">{summary}</p>}
        {leaking.length > 0 && <table class="plain leak-table">
          <thead><tr><th scope="col">block</th><th scope="col">to padding</th><th scope="col">across the edge</th></tr></thead>
          <tbody>
            {leaking.map((leak) => (
              <tr key={leak.block} data-block={leak.block}>
                <th scope="row">{blockName(trace.manifest.blocks[leak.block])}</th>
                <td><Strip values={leak.padding} name="padding" /></td>
                <td><Strip values={leak.wrap} name="wrap" /></td>
              </tr>
            ))}
          </tbody>
        </table>}
      </Figure>
    </section>
  );
}

const sentence = (what: string, worst: number): string =>
  worst === 0 ? `No head gives any weight to ${what}.` : `Some head gives up to ${share(worst)} of its weight to ${what}, on average over its queries.`;

// One cell a head, the darker the more leaks; the worst is said in words.
function Strip({ values, name }: { values: number[]; name: string }): JSX.Element {
  const worst = Math.max(0, ...values);
  return (
    <span class="strip" data-leak={name} data-worst={worst}>
      <span class="cells" aria-hidden="true">
        {values.map((value, head) => <i key={head} title={`head ${head + 1}: ${share(value)}`} style={{ opacity: value > 0 ? 0.15 + 0.85 * Math.min(1, value / 0.2) : 0 }} />)}
      </span>
      <span class={worst > 0 ? "number" : "number soft"}>{worst > 0 ? `up to ${share(worst)}` : "none"}</span>
    </span>
  );
}

// ---- checks --------------------------------------------------------------------------------------

function Checks({ app }: { app: App }): JSX.Element {
  const trace = app.trace.value;
  const { checks } = trace.manifest;
  const { value: decoded, error } = useLoaded(() => sums(trace), [trace]);
  const rows = [
    ...checks.map(({ id, title, value, limit, passed, text }) => ({ id, title, passed, text, value: typeof value === "number" ? brief(value) : value, limit })),
    decoded
      ? { id: "decoded", title: "Stored rows sum to one", passed: decoded.worst < 1e-5, value: `${count(decoded.rows)} rows, off by ${brief(decoded.worst)} at most`, limit: 1e-5,
        text: "Every stored row of weights was decoded again just now, in this page." }
      : { id: "decoded", title: "Stored rows sum to one", passed: null, value: error ?? "decoding…", limit: 1e-5, text: "" },
  ];
  return (
    <section class="part checks">
      <h3>What was checked</h3>
      <ul>
        {rows.map(({ id, title, passed, value, limit, text }) => (
          <li key={id} data-check={id} data-passed={String(passed)}>
            <span class={`sign ${passed === null ? "noted" : passed ? "passed" : "failed"}`} aria-hidden="true">{passed === null ? "·" : passed ? "✓" : "✗"}</span>
            <span><b>{title}</b> <span class="away">{passed === null ? "for the record" : passed ? "passed" : "failed"}</span></span>
            <span class="value">{value}{limit !== null && ` (limit ${brief(limit)})`}</span>
            {text && <span class="note">{text}</span>}
          </li>
        ))}
      </ul>
      {isPending(trace.manifest, "checks") && <Pending what="The comparison with a run without hooks is" />}
    </section>
  );
}
