// The class of every pixel over the photo: choose a place, and see what it looked at.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { classAt, colours, loadMask, pixelsOf, type Mask } from "../mask";
import { prelude } from "../python";
import { chooseBlock, placeOf, tokenAt, type App } from "../state";
import type { TraceView } from "../trace";
import { Figure } from "../ui/Figure";
import { useLoaded, usePaint } from "../ui/hooks";
import { Slider } from "../ui/Slider";
import { Switch } from "../ui/Switch";
import type { View } from "../view";
import { blockName, plural, share, times, tokenWords } from "../words";
import { strokeEdges, outline } from "../draw/heat";
import { fit } from "./reach-canvas";
import { Panel } from "./reach-panel";

type Pixel = [number, number];
const MOVES: Record<string, Pixel> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const lastOf = (trace: TraceView, stage: number): number => Math.max(...trace.manifest.stages[stage].blocks);

function Outcome({ app }: { app: App }): JSX.Element {
  const trace = app.trace.value;
  const { blocks, stages, photo: { input } } = trace.manifest;
  const { value: mask, error } = useLoaded(() => loadMask(trace), [trace]);
  const [kept, keep] = useState<{ pixel: Pixel; token: number; block: number } | null>(null);
  const [block, token] = [app.state.block.value, app.state.token.value];
  const facts = blocks[block];
  // The pixel that was pointed at, while its token stays chosen; else the token's middle.
  const own = kept && kept.block === block && kept.token === token ? kept.pixel : null;
  const middle = (token < facts.prefix ? [0.5, 0.5] : placeOf(facts, token, input)).map((p, axis) => Math.min(input[axis] - 1, Math.floor(p * input[axis]))) as Pixel;
  const pixel = own ?? middle;
  const ends = lastOf(trace, facts.stage) === block;
  // Of a stage, only what is behind its last block goes on to the answer.
  useEffect(() => { if (!ends) chooseBlock(app, lastOf(trace, stages.length - 1)); }, [ends]);
  const choose = (at: Pixel, stage = facts.stage): void => {
    const chosen = lastOf(trace, stage);
    const place = at.map((n, axis) => (n + 0.5) / input[axis]) as Pixel;
    chooseBlock(app, chosen, place);
    keep({ pixel: at, block: chosen, token: tokenAt(blocks[chosen], place, input) });
    if (!mask) return;
    const { cls, label, certainty } = classAt(trace, mask, at);
    app.state.cls.value = cls;
    app.say(`Pixel row ${at[0] + 1}, column ${at[1] + 1}: ${label}, ${share(certainty)}.`);
  };
  return (
    <div class="outcome">
      {error && <p class="warning" role="alert">{error}</p>}
      <div class="outcome-columns">
        {mask && <Picture app={app} mask={mask} pixel={pixel} onChoose={choose} />}
        <div class="outcome-looks">
          {stages.length > 1 && (
            <Switch label="Look from the end of" value={String(facts.stage)} choices={stages.map((_, stage) => ({ id: String(stage), label: `Stage ${stage + 1}` }))}
              onChange={(stage) => choose(pixel, Number(stage))} />
          )}
          <Looked app={app} block={block} token={token} pixel={pixel} />
          <Raised app={app} pixel={pixel} />
        </div>
      </div>
    </div>
  );
}

export const outcome: View = { id: "outcome", title: "Mask", Component: Outcome, shown: ({ outcome: { kind } }) => kind === "mask" };

// ---- the photo with its mask ---------------------------------------------------------------------

interface PictureProps { app: App; mask: Mask; pixel: Pixel; onChoose(pixel: Pixel): void }

function Picture({ app, mask, pixel, onChoose }: PictureProps): JSX.Element {
  const trace = app.trace.value;
  const { outcome: { classes }, photo: { input } } = trace.manifest;
  const facts = trace.manifest.blocks[app.state.block.value];
  const [shown, show] = useState(true);
  const [strength, cover] = useState(50);
  const { cls, label, certainty } = classAt(trace, mask, pixel);
  return (
    <Figure app={app} id="mask" title="What the model takes each pixel for"
      readout={<span data-class-at={cls}>Pixel row {pixel[0] + 1}, column {pixel[1] + 1}: <b>{label}</b>, {share(certainty)}; {tokenWords(facts, app.state.token.value)} of the {times(facts.spatial)} tokens after {blockName(facts)}</span>}
      caption="Click, or use the arrow keys, to choose a place. The mask is what the model gives at this size of input; nothing is smoothed."
      table={() => ({ columns: ["class", "name", "share of the pixels"], rows: classes.map((row) => [row.class, row.label, row.share]), data: (row) => ({ class: classes[row].class }) })}
      numbers={() => ({ shape: [mask.height, mask.width], data: Float32Array.from(mask.labels) })}
      python={() => `${prelude(app)}\nmask = report.arrays.get("outcome/mask")  # the number of each pixel's class`}>
      <Painted app={app} mask={mask} pixel={pixel} strength={shown ? strength / 100 : 0} onChoose={onChoose} />
      <Legend app={app} />
      <div class="controls">
        <label class="check"><input type="checkbox" data-mask-shown checked={shown} onInput={(event) => show(event.currentTarget.checked)} /> show the mask</label>
        <Slider label="Mask" value={strength} min={0} max={100} disabled={!shown} words={(n) => `${n}\u00a0%`} onInput={cover} />
      </div>
      <p class="away" id="mask-hint">{plural(input[0], "row")} of {plural(input[1], "pixel")}; arrows move by a token.</p>
    </Figure>
  );
}

function Painted({ app, mask, pixel, strength, onChoose }: PictureProps & { strength: number }): JSX.Element {
  const trace = app.trace.value;
  const [high, wide] = trace.manifest.photo.input;
  const { stride, spatial, prefix } = trace.manifest.blocks[app.state.block.value];
  const token = app.state.token.value - prefix;
  const { value: image } = useLoaded(() => trace.image("shown"), [trace]);
  const ref = usePaint((canvas, width) => {
    const height = (width * high) / wide;
    const context = fit(canvas, width, height);
    if (image) context.drawImage(image, 0, 0, width, height);
    context.imageSmoothingEnabled = false;
    if (strength > 0) {
      context.globalAlpha = strength;
      context.drawImage(pixelsOf(mask, colours(trace), trace.manifest.outcome.background), 0, 0, width, height);
      context.globalAlpha = 1;
    }
    const unit = [height / high, width / wide];
    if (token >= 0) strokeEdges(context, outline(Math.floor(token / spatial[1]) * stride[0], (token % spatial[1]) * stride[1], stride[0], stride[1]), unit, "#ffd84a", 2);
    strokeEdges(context, cross(pixel, 4 / unit[0], 4 / unit[1]), unit, "#ffffff", 1.5);
  }, [image, mask, strength, pixel[0], pixel[1], token, stride, high, wide]);
  const at = (event: MouseEvent): void => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const places = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
    onChoose(places.map((p, axis) => Math.min([high, wide][axis] - 1, Math.max(0, Math.floor(p * [high, wide][axis])))) as Pixel);
  };
  const press = (event: KeyboardEvent): void => {
    const move = MOVES[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    onChoose(pixel.map((n, axis) => Math.min([high, wide][axis] - 1, Math.max(0, n + move[axis] * stride[axis]))) as Pixel);
  };
  return (
    <div class="over" style={{ aspectRatio: `${wide} / ${high}` }}>
      <canvas ref={ref} class="canvas" data-mask tabIndex={0} role="application" aria-roledescription="picture of classes" aria-describedby="mask-hint"
        aria-label={`The photo with the class of each of its ${times([high, wide])} pixels`} onClick={at} onKeyDown={press} />
    </div>
  );
}

const cross = ([y, x]: Pixel, high: number, wide: number): [number, number, number, number][] => [[y + 0.5 - high, x + 0.5, y + 0.5 + high, x + 0.5], [y + 0.5, x + 0.5 - wide, y + 0.5, x + 0.5 + wide]];

function Legend({ app }: { app: App }): JSX.Element {
  const { classes, background } = app.trace.value.manifest.outcome;
  return (
    <ul class="mask-legend" aria-label="Classes; choose one to see what raises it at the chosen pixel">
      {classes.map(({ class: id, label, colour, share: part }) => (
        <li key={id}>
          <button type="button" data-mask-class={id} aria-pressed={app.state.cls.value === id} onClick={() => { app.state.cls.value = id; }}>
            <svg viewBox="0 0 14 14" aria-hidden="true"><rect width="14" height="14" rx="3" fill={background && id === 0 ? "none" : colour} stroke="currentColor" /></svg>
            {label}<span class="number">{share(part)}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

// ---- what it looked at ---------------------------------------------------------------------------

function Looked({ app, block, token, pixel }: { app: App; block: number; token: number; pixel: Pixel }): JSX.Element {
  const trace = app.trace.value;
  const { value: map, error } = useLoaded(() => trace.rollout(block, token), [trace, block, token]);
  return (
    <Panel app={app} id="looked" tag="attention is routing, not importance" title="What did this pixel look at?" map={map} missing={error}
      code={`from vitrail.explain import rollout_from\nmap = rollout_from(trace, (${pixel.join(", ")}), block=${block})  # of the first stage's tokens; sums to one`}
      caption={<>Rollout of the token over the pixel: weights multiplied back through {plural(block + 1, "block")}. The head reads the maps of all stages; choose another to look from there.</>} />
  );
}

function Raised({ app, pixel }: { app: App; pixel: Pixel }): JSX.Element | null {
  const trace = app.trace.value;
  const { methods, on_demand: demand, outcome: { classes } } = trace.manifest;
  const offered = methods.filter(({ per_class: own }) => own);
  const method = offered.find(({ id }) => id === app.state.method.value) ?? offered[0];
  const cls = app.state.cls.value;
  const { value: map, error, fresh } = useLoaded(() => (method && demand ? trace.mapAt(method.id, cls, pixel) : null), [trace, method?.id, cls, pixel[0], pixel[1]]);
  if (!method) return null;
  if (!demand) return <p class="note" data-raised="no">What raises a class at one pixel takes the model: <code>vitrail explore PHOTO --serve</code> and notebooks show it. Maps of whole classes are under “Reach”.</p>;
  return (
    <div data-raised={cls}>
      <Switch label="Method" value={method.id} choices={offered.map(({ id, title }) => ({ id, label: title }))} onChange={(id) => { app.state.method.value = id; }} />
      <Panel app={app} id="raised" tag="gradient of the class's score" title={`What raises “${classes[cls]?.label ?? cls}” here?`} map={fresh ? map : null} missing={fresh ? error : "Being computed…"}
        code={`map = report.arrays.get("map/${method.id}/${cls}/${pixel.join("/")}")`} caption={method.text} />
    </div>
  );
}
