// Reach: from any token back to pixels, by what it could see, what it fetched, and what moves it.
import type { JSX } from "preact";
import { placeText } from "../python";
import { field, halfWithin, theory, type Theory } from "../reach";
import { chooseBlock, type App } from "../state";
import type { TraceView } from "../trace";
import { useLoaded } from "../ui/hooks";
import { Pending, isPending } from "../ui/Pending";
import { Switch } from "../ui/Switch";
import { blockName, plural, share, times, tokenWords } from "../words";
import type { View } from "../view";
import { MethodMap } from "./reach-map";
import { Panel } from "./reach-panel";
import { Unfold } from "./reach-unfold";

function Reach({ app }: { app: App }): JSX.Element {
  const trace = app.trace.value;
  const { blocks, stages, model: { caveat } } = trace.manifest;
  const [block, token] = [app.state.block.value, app.state.token.value];
  const facts = blocks[block];
  const { value, error } = useLoaded(async () => ({ block, token, found: await theory(trace, block, token) }), [trace, block, token]);
  // Block and token may change one after the other; only what belongs together is shown.
  const found = value && value.block === block && value.token === token ? value.found : null;
  return (
    <div class="reach">
      <section class="part">
        <div class="bar">
          <p class="lead">
            <b>{tokenWords(facts, token)}</b> of the {times(facts.spatial)} tokens after {blockName(facts)}: which pixels can it know of?
          </p>
          {stages.length > 1 && (
            <Switch label="Look from the end of" value={blocks[block] === blocks[lastOf(trace, facts.stage)] ? String(facts.stage) : ""}
              choices={stages.map((_, stage) => ({ id: String(stage), label: `Stage ${stage + 1}` }))}
              onChange={(stage) => chooseBlock(app, lastOf(trace, Number(stage)))} />
          )}
        </div>
        {error && <p class="note">{error}</p>}
        {caveat && <p class="note" data-caveat><b>{caveat}</b> What it could see and where it fetched from are such maps; which pixels move it is not.</p>}
        <Unfold app={app} trace={trace} block={block} token={token} found={value?.found ?? null} fresh={found !== null} />
      </section>
      <div class="columns three">
        <Could app={app} trace={trace} found={found} />
        <Fetched app={app} trace={trace} block={block} token={token} />
        <Moved app={app} trace={trace} block={block} token={token} />
      </div>
      {isPending(trace.manifest, "methods") ? <Pending what="Maps of the answer are" /> : trace.manifest.methods.length > 0 && <MethodMap app={app} />}
    </div>
  );
}

export const reach: View = { id: "reach", title: "Reach", Component: Reach };

const lastOf = (trace: TraceView, stage: number): number => Math.max(...trace.manifest.stages[stage].blocks);

// ---- three answers -------------------------------------------------------------------------------

function Could({ app, trace, found }: { app: App; trace: TraceView; found: Theory | null }): JSX.Element {
  const { photo: { input } } = trace.manifest;
  const facts = trace.manifest.blocks[app.state.block.value];
  const map = found && { height: input[0], width: input[1], values: Float32Array.from(found.support.pixels) };
  const box = found?.support.box;
  return (
    <Panel app={app} id="could" tag="theory" title="What it could see" map={map} mask
      code={`from vitrail.analysis import reach\npixels = reach(model, (${input.join(", ")}), ${facts.stage}, ${facts.block}, ${placeText(app)})  # True where a pixel can influence the token`}
      caption={box ? <span data-box={box.join(" ")} data-share={found?.support.share}>
        {box[2] - box[0]} × {box[3] - box[1]} pixels, {share(found?.support.share ?? 0)} of the image: by patterns, merges and patches alone, whatever the weights.{trace.manifest.model.overlap.some((n) => n > 0) ? " Patches and merges overlap here; they are followed to within their overlap." : ""}
      </span> : ""} />
  );
}

function Fetched({ app, trace, block, token }: { app: App; trace: TraceView; block: number; token: number }): JSX.Element {
  const { value: map, error } = useLoaded(() => trace.rollout(block, token), [trace, block, token]);
  const input = trace.manifest.photo.input;
  return (
    <Panel app={app} id="rollout" tag="attention" title="Where it fetched from" map={map} missing={error}
      code={`from vitrail.explain import rollout\nmap = rollout(trace, ${block}, ${placeText(app)})  # of the first stage's tokens; sums to one`}
      caption={map ? <>Rollout: weights multiplied back through {plural(block + 1, "block")}. Half of it lies within {Math.round(halfWithin(map, input))} pixels. Attention is routing, not importance: what is fetched may be ignored.</> : ""} />
  );
}

function Moved({ app, trace, block, token }: { app: App; trace: TraceView; block: number; token: number }): JSX.Element {
  const { value: found, error } = useLoaded(() => field(trace, block, token), [trace, block, token]);
  const stage = trace.manifest.blocks[block].stage;
  const middle = trace.manifest.reach.find((reach) => reach.stage === stage);
  const absent = !middle ? "Not there yet: the run that computes it has not finished."
    : middle.erf === null ? "Not taken: of so large a picture, gradients take a minute for each token. Explore it at 1024 × 1024 pixels or less." : null;
  return (
    <Panel app={app} id="erf" tag="gradient" title="Which pixels move it" map={found?.map ?? null}
      missing={error ?? (found ? null : absent)}
      code={`map = report.arrays.get("erf/${stage}/${found ? found.place.join("/") : "0/0"}")  # height, width`}
      caption={found ? <>
        Effective receptive field: how strongly a small change of each pixel changes the token. Half of it lies within {Math.round(halfWithin(found.map, trace.manifest.photo.input))} pixels.
        {!found.own && <b data-middle> Shown for the middle token at the end of stage {found.stage + 1}; the local server computes it for any token.</b>}
      </> : ""} />
  );
}
