// The map of a method for a class, never without what it scored.
import type { JSX } from "preact";
import { scores, titleOf, verdict } from "../scores";
import type { App } from "../state";
import type { Method } from "../rows";
import { useLoaded } from "../ui/hooks";
import { Switch } from "../ui/Switch";
import { Panel } from "./reach-panel";

export function MethodMap({ app }: { app: App }): JSX.Element {
  const trace = app.trace.value;
  const { manifest, source } = trace;
  const { methods, maps, on_demand: demand } = manifest;
  const offered = methods.filter(({ id }) => demand || maps.some((map) => map.method === id));
  const method = offered.find(({ id }) => id === app.state.method.value) ?? offered[0];
  const classes = method ? known(app, method) : [];
  const wished = app.state.cls.value;
  const cls = demand || classes.includes(wished) ? wished : classes[0] ?? wished;
  const wanted = method?.per_class ? cls : null;
  const { value: map, error, fresh } = useLoaded(() => (method ? trace.map(method.id, wanted) : null), [trace, source, method?.id, wanted]);
  // Gradients of a large picture take a minute: meanwhile, the map of another method would be taken for this one's.
  const making = !fresh && !maps.some((made) => made.method === method?.id && (made.class === null || made.class === wanted));
  if (!method) return <p class="note part">This trace keeps no maps.</p>;
  return (
    <section class="part method" data-method-map={method.id} data-class={wanted ?? ""}>
      <div class="bar">
        <h3>{method.per_class ? `Which pixels support “${className(app, cls)}”?` : "Where is the output routed from?"}</h3>
        <Switch label="Method" value={method.id} onChange={(id) => { app.state.method.value = id; }}
          choices={offered.map(({ id, title }) => ({ id, label: title }))} />
        {method.per_class && classes.length > 1 && (
          <label class="choose">class <select value={cls} onChange={(event) => { app.state.cls.value = Number(event.currentTarget.value); }}>
            {classes.map((id) => <option key={id} value={id}>{className(app, id)}</option>)}
          </select></label>
        )}
      </div>
      <div class="with-scores">
        <Panel app={app} id="map" tag={method.layer === "routing" ? "attention is routing, not importance" : "gradient of the class's score"} title={method.title} map={making ? null : map} missing={making ? "Being computed…" : error}
          code={`map = report.arrays.get("map/${method.id}/${wanted ?? 0}")`} caption={method.text} />
        <Scores app={app} method={method.id} other={method.per_class && cls !== manifest.answer[0]?.class} />
      </div>
    </section>
  );
}

// Classes whose map can be had, in the order of the answer.
function known(app: App, { id }: Method): number[] {
  const { answer, maps, outcome, on_demand: demand } = app.trace.value.manifest;
  if (demand) return [...new Set([...outcome.classes.flatMap(({ class: cls, share }) => (share > 0 ? [cls] : [])), ...answer.map(({ class: cls }) => cls), app.state.cls.value])];
  return [...new Set(maps.flatMap((map) => (map.method === id && map.class !== null ? [map.class] : [])))];
}

function className(app: App, cls: number): string {
  const { answer, model } = app.trace.value.manifest;
  return answer.find((item) => item.class === cls)?.label ?? model.class_names?.[cls] ?? `class ${cls}`;
}

function Scores({ app, method, other }: { app: App; method: string; other: boolean }): JSX.Element {
  const { manifest } = app.trace.value;
  const rows = scores(manifest).filter(({ id }) => id === method || id === "random" || id === "centre");
  const said = verdict(manifest, method);
  const study = manifest.faithfulness?.study;
  const over = study?.rows.find((row) => row.method === method);
  if (!said) {
    return (
      <div class="scores" data-scored="no">
        <h4>How far to trust it</h4>
        <p class="note">{titleOf(manifest, method)} was not scored on this image. Take it as an untested claim.</p>
      </div>
    );
  }
  return (
    <div class="scores" data-scored="yes">
      <h4>How far to trust it</h4>
      <table class="plain">
        <thead><tr><th scope="col">order</th><th scope="col">hide ↓</th><th scope="col">show ↑</th></tr></thead>
        <tbody>
          {rows.map(({ id, title, deletion, insertion }) => (
            <tr key={id} class={id === method ? "chosen" : ""} data-method={id}>
              <th scope="row">{title}</th><td class="number" data-deletion={deletion}>{deletion.toFixed(3)}</td><td class="number" data-insertion={insertion}>{insertion.toFixed(3)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="note">Areas under the answer's probability while its brightest pixels are hidden first (lower is better) or shown first (higher is better). {sentence(said.words)}
        {over && study ? ` Over ${study.images} images it ${over.beats_random ? "beats random" : "does not beat random"}.` : ""}</p>
      {other && <p class="note"><b>Scored for “{manifest.answer[0]?.label}” only, not for the class shown.</b></p>}
      <button type="button" class="link" onClick={() => { app.state.view.value = "audit"; }}>See the curves</button>
    </div>
  );
}

const sentence = (words: string): string => `It does ${words}.`;
