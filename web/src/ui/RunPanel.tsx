// Choose model, size and photo; watch a run and stop it; choose what is shown and compared.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Host } from "../host";
import type { Job, TraceItem } from "../sources/server";

const STEPS: Record<Job["progress"]["step"], string> = {
  model: "Loading the model", photo: "Opening the photo", forward: "Running the model", figures: "Computing maps and figures",
};
const named = ({ name, model, size }: TraceItem) => `${name}: ${model}, ${size.join(" × ")}`;

export function RunPanel({ host }: { host: Host }): JSX.Element {
  const catalog = host.catalog.value;
  const [model, setModel] = useState("");
  const [weights, setWeights] = useState("");
  const [size, setSize] = useState("");
  const chosen = catalog?.models.find(({ name }) => name === model) ?? catalog?.models[0];
  const photo = host.photo.value;
  const busy = host.job.value !== null;
  const run = (event: Event) => {
    event.preventDefault();
    void host.run({ model: chosen?.name, weights: chosen?.weights.includes(weights) ? weights : undefined, size: size.trim() });
  };
  return (
    <section class="run card" aria-label="Run a model" data-run>
      <form onSubmit={run}>
        <label>Photo
          <input type="file" accept="image/*" data-field="photo"
            onChange={(event) => { host.photo.value = event.currentTarget.files?.[0] ?? null; }} />
        </label>
        <label>Model
          <select data-field="model" value={chosen?.name} onChange={(event) => setModel(event.currentTarget.value)}>
            {catalog?.models.map(({ name }) => <option key={name} value={name}>{name}</option>)}
          </select>
        </label>
        <label>Weights
          <select data-field="weights" value={weights} onChange={(event) => setWeights(event.currentTarget.value)}>
            {chosen?.weights.map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
        </label>
        <label>Size
          <input data-field="size" value={size} placeholder="as the model likes" inputMode="text" pattern="[0-9]+(x[0-9]+)?"
            title="Pixels, e.g. 224 or 192x256" onInput={(event) => setSize(event.currentTarget.value)} />
        </label>
        <button type="submit" class="strong" disabled={busy || (!photo && !host.shown.value.length)}>Run</button>
      </form>
      <p class="note">
        {photo ? `Ready: ${photo.name}.` : host.shown.value.length ? "Without another photo, the one shown is run again." : ""} Drop or paste a
        photo anywhere on the page. It stays on this machine.
      </p>
      {host.job.value && <Progress host={host} job={host.job.value} />}
      {host.problem.value && <p class="warning" role="alert">{host.problem.value}</p>}
      {host.traces.value.length > 1 && <Shown host={host} />}
    </section>
  );
}

function Progress({ host, job }: { host: Host; job: Job }): JSX.Element {
  const { step, stage, stages, block, blocks, share } = job.progress;
  const words = job.state === "queued" ? `Waiting; ${job.ahead} before it` : `${STEPS[step]}${step === "forward" ? `, stage ${stage} of ${stages}, block ${block} of ${blocks}` : ""}`;
  return (
    <div class="progress" role="group" aria-label="The run">
      <progress max={1} value={job.state === "queued" ? undefined : share} aria-label={words} />
      <span aria-live="polite">{words} …</span>
      <button type="button" data-cancel onClick={() => void host.cancel()}>Cancel</button>
    </div>
  );
}

function Shown({ host }: { host: Host }): JSX.Element {
  const [first, second] = host.shown.value;
  const options = host.traces.value.map((trace) => <option key={trace.id} value={trace.id}>{named(trace)}</option>);
  return (
    <div class="choose">
      <label>Shown
        <select data-field="trace" value={first} onChange={(event) => void host.show([event.currentTarget.value, ...(second ? [second] : [])])}>{options}</select>
      </label>
      <label>Compared with
        <select data-field="against" value={second ?? ""} onChange={(event) => void host.show([first, event.currentTarget.value].filter(Boolean))}>
          <option value="">nothing</option>
          {options}
        </select>
      </label>
    </div>
  );
}
