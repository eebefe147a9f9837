// One token unfolds back to the pixels: at every stage the tokens that can reach it, and how much
// each of them gave.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { drawHeat, outline, strokeEdges } from "../draw/heat";
import { MARK } from "../draw/colour";
import { placeText, prelude } from "../python";
import type { Theory } from "../reach";
import type { App } from "../state";
import type { TraceView } from "../trace";
import { Figure } from "../ui/Figure";
import { useLoaded, usePaint } from "../ui/hooks";
import { plural, share, times } from "../words";
import { darken, fit } from "./reach-canvas";

interface Props { app: App; trace: TraceView; block: number; token: number; found: Theory | null; fresh: boolean }

const PACE = 700; // ms between one stage and the next

export function Unfold({ app, trace, block, token, found, fresh }: Props): JSX.Element {
  const many = (found?.support.stages.length ?? 0) + 2; // the token, each stage, the pixels
  const [open, setOpen] = useState(99);
  const [playing, setPlaying] = useState(false);
  const shown = Math.min(open, many);
  useEffect(() => {
    if (!playing) return undefined;
    const timer = setTimeout(() => { if (shown >= many) setPlaying(false); else setOpen(shown + 1); }, PACE);
    return () => clearTimeout(timer);
  }, [playing, shown, many]);
  // A new token unfolds anew, unless nothing is to move.
  const first = useRef(true);
  useEffect(() => {
    if (first.current) { first.current = false; return; }
    if (!app.reduced) { setOpen(1); setPlaying(true); }
  }, [block, token]);
  const step = (to: number) => () => { setPlaying(false); setOpen(Math.max(1, Math.min(many, to))); };
  const { stages } = found?.support ?? { stages: [] };
  return (
    <Figure app={app} id="unfold" title="Unfold it, stage by stage"
      caption="Bright tokens gave more, by rollout; dark ones could not be seen at all. Click a token of the first picture, or use the arrow keys on it, to choose another."
      table={() => ({
        columns: ["stage", "grid", "tokens that can reach it", "share of the grid"],
        rows: stages.map((stage) => [stage.stage + 1, times(stage.spatial), stage.count, stage.count / stage.enters.length]),
        data: (row) => ({ "data-stage": stages[row].stage, "data-count": stages[row].count }),
      })}
      python={() => `${prelude(app)}\nfrom vitrail.explain import rollout_stages\nmaps = rollout_stages(trace, ${block}, ${placeText(app)})  # one a stage, as its blocks begin`}>
      <ol class="unfold" data-fresh={fresh} data-open={shown}>
        <li><QueryGrid app={app} trace={trace} block={block} token={token} /></li>
        {stages.map((stage, i) => (
          <li key={stage.stage} class={shown > i + 1 ? "" : "folded"} data-unfolded={stage.stage} data-count={stage.count}>
            <StageTokens trace={trace} at={i} found={found as Theory} />
            <p><b>{plural(stage.count, "token")}</b> <span class="note">of {times(stage.spatial)}, as they enter stage {stage.stage + 1}</span></p>
          </li>
        ))}
        {found && (
          <li class={shown >= many ? "" : "folded"} data-unfolded="pixels">
            <StageTokens trace={trace} at={-1} found={found} />
            <p><b>{share(found.support.share)}</b> <span class="note">of the pixels</span></p>
          </li>
        )}
      </ol>
      <div class="stepper" role="group" aria-label="Unfold">
        <button type="button" onClick={step(shown - 1)} disabled={shown <= 1} data-unfold="back">Fold</button>
        <button type="button" onClick={step(shown + 1)} disabled={shown >= many} data-unfold="next">Unfold one</button>
        <button type="button" onClick={() => { if (app.reduced) setOpen(many); else { setOpen(1); setPlaying(true); } }} data-unfold="play">{app.reduced ? "Unfold all" : "Play"}</button>
      </div>
    </Figure>
  );
}

// The grid of the query itself, to choose another one from.
function QueryGrid({ app, trace, block, token }: { app: App; trace: TraceView; block: number; token: number }): JSX.Element {
  const { photo: { input }, blocks } = trace.manifest;
  const { prefix, spatial, stride } = blocks[block];
  const { value: image } = useLoaded(() => trace.image("shown"), [trace]);
  const [y, x] = [Math.floor((token - prefix) / spatial[1]), (token - prefix) % spatial[1]];
  const ref = usePaint((canvas, width) => {
    const height = (width * input[0]) / input[1];
    const unit: [number, number] = [(stride[0] / input[0]) * height, (stride[1] / input[1]) * width];
    const context = fit(canvas, width, height);
    if (image) context.drawImage(image, 0, 0, width, height);
    context.fillStyle = "rgb(12 10 18 / .4)";
    context.fillRect(0, 0, width, height);
    const lines = [
      ...Array.from({ length: spatial[0] - 1 }, (_, i): [number, number, number, number] => [i + 1, 0, i + 1, spatial[1]]),
      ...Array.from({ length: spatial[1] - 1 }, (_, i): [number, number, number, number] => [0, i + 1, spatial[0], i + 1]),
    ];
    if (Math.min(...unit) >= 4) strokeEdges(context, lines, unit, "rgb(255 255 255 / .4)", 1, [], 0);
    if (token < prefix) return;
    if (image) {
      const [sy, sx] = [image.height / input[0], image.width / input[1]];
      context.drawImage(image, x * stride[1] * sx, y * stride[0] * sy, stride[1] * sx, stride[0] * sy, x * unit[1], y * unit[0], unit[1], unit[0]);
    }
    strokeEdges(context, outline(y, x), unit, MARK, 3);
  }, [image, block, token, trace]);
  const choose = (v: number, h: number): void => {
    app.state.token.value = prefix + Math.min(spatial[0] - 1, Math.max(0, v)) * spatial[1] + Math.min(spatial[1] - 1, Math.max(0, h));
  };
  const onKey = (event: KeyboardEvent): void => {
    const move = ({ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] } as Record<string, [number, number] | undefined>)[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (token < prefix) choose(0, 0);
    else choose(y + move[0], x + move[1]);
  };
  const onClick = (event: MouseEvent): void => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    choose(Math.floor(((event.clientY - box.top) / box.height) * (input[0] / stride[0])), Math.floor(((event.clientX - box.left) / box.width) * (input[1] / stride[1])));
  };
  const said = token < prefix ? `prefix token ${token + 1}` : `row ${y + 1} of ${spatial[0]}, column ${x + 1} of ${spatial[1]}`;
  return (
    <>
      <div><canvas ref={ref} tabIndex={0} role="application" aria-roledescription="grid of tokens" aria-label={`Query: ${said}. Arrow keys choose another.`} data-query-token={token} onKeyDown={onKey} onClick={onClick} /></div>
      <p><b>1 token</b> <span class="note">{said}</span></p>
    </>
  );
}

// The tokens of a stage that can reach the query, or (at -1) the pixels.
function StageTokens({ trace, at, found }: { trace: TraceView; at: number; found: Theory }): JSX.Element {
  const { photo: { input } } = trace.manifest;
  const { value: image } = useLoaded(() => trace.image("shown"), [trace]);
  const ref = usePaint((canvas, width) => {
    const height = (width * input[0]) / input[1];
    const context = fit(canvas, width, height);
    if (image) context.drawImage(image, 0, 0, width, height);
    const stages = found.support.stages;
    const { spatial, stride, enters } = stages[at < 0 ? stages.length - 1 : at];
    const flags = at < 0 ? found.support.pixels : enters;
    const [rows, columns] = at < 0 ? [input[0], input[1]] : spatial;
    const area: [number, number, number, number] = at < 0 ? [0, 0, width, height]
      : [0, 0, ((stride[1] * columns) / input[1]) * width, ((stride[0] * rows) / input[0]) * height];
    const row = at < 0 ? null : found.rows?.find(({ stage }) => stage === stages[at].stage) ?? null;
    if (row) drawHeat(context, row, area, { alpha: 0.75, hidden: (cell) => !flags[cell] });
    darken(context, { height: rows, width: columns }, (cell) => flags[cell] > 0, area);
  }, [image, at, found, trace]);
  return <div><canvas ref={ref} aria-hidden="true" /></div>;
}
