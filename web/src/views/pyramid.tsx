// Stages as planes to scale, blocks as beads; always in sight. Each plane carries the features of the
// chosen block (or of its stage's last one) as three colours.
import { Fragment, type JSX } from "preact";
import { useMemo, useRef } from "preact/hooks";
import { DOTS, fillWith } from "../draw/hatch";
import { chooseBlock, placeOf, type App } from "../state";
import type { Block, Stage } from "../rows";
import type { TraceView } from "../trace";
import { Glyph, tone } from "../ui/Glyph";
import { useLoaded, usePaint } from "../ui/hooks";
import type { View } from "../view";
import { blockName, count, times } from "../words";

// A plane is seen from the front, above and to the left: rows run up and to the right.
const WIDE = 164; // CSS pixels of the first plane's front edge; the others in proportion to their tokens
const LEAST = 22; // enough to see that there are tokens
const SLANT = 0.42; // how far a row steps aside, of its depth
const DEEP = 0.5; // how far a row steps up, of its depth

interface PlaneSize { width: number; depth: number; high: number; wide: number }

// Front edge and depth of a plane, and the CSS pixels that it takes.
function planeSize({ spatial, stride }: Stage, first: Stage): PlaneSize {
  const width = Math.max(LEAST, WIDE * spatial[1] / Math.max(first.spatial[1], first.spatial[0]));
  const depth = width * (spatial[0] * stride[0]) / (spatial[1] * stride[1]);
  return { width, depth, high: Math.ceil(depth * DEEP + 6), wide: Math.ceil(width + depth * SLANT + 4) };
}

function Pyramid({ app }: { app: App }): JSX.Element {
  const trace = app.trace.value;
  const { stages, blocks } = trace.manifest;
  const list = useRef<HTMLDivElement>(null);
  const tallest = Math.max(...stages.map((stage) => planeSize(stage, stages[0]).high));
  const kinds = useMemo(() => [...new Map(blocks.map((block) => [block.label, block])).values()], [blocks]);
  const move = (event: KeyboardEvent): void => {
    const last = blocks.length - 1;
    const now = app.state.block.value;
    const next = step(event.key, now, last, stages);
    if (next === null) return;
    event.preventDefault();
    chooseBlock(app, next);
    say(app, blocks[next], trace);
    requestAnimationFrame(() => list.current?.querySelector<HTMLElement>(`[data-bead="${next}"]`)?.focus());
  };
  return (
    <div class="pyramid">
      <h2>Its stages and their blocks</h2>
      <p class="note">
        Each stage covers the whole photo with fewer, larger tokens. Choose a block:{" "}
        {kinds.map((block, i) => (
          <Fragment key={block.label}>{i ? ", " : ""}<span class="bead-key"><Glyph block={block} />{"\u00a0"}<b>{block.label}</b> {block.title}</span></Fragment>
        ))}.
      </p>
      <div class="stages" role="group" aria-label="Blocks, stage by stage" ref={list} onKeyDown={move}>
        {stages.map((_, i) => <StageColumn key={i} app={app} trace={trace} index={i} tallest={tallest} />)}
      </div>
    </div>
  );
}

// Left and right along the beads, up and down between stages, Home and End.
function step(key: string, now: number, last: number, stages: readonly Stage[]): number | null {
  const at = stages.findIndex(({ blocks }) => blocks.includes(now));
  const across = (by: number): number => {
    const next = stages[Math.min(stages.length - 1, Math.max(0, at + by))];
    return next.blocks[Math.min(next.blocks.length - 1, stages[at].blocks.indexOf(now))];
  };
  switch (key) {
    case "ArrowRight": return Math.min(last, now + 1);
    case "ArrowLeft": return Math.max(0, now - 1);
    case "ArrowDown": return across(1);
    case "ArrowUp": return across(-1);
    case "Home": return 0;
    case "End": return last;
    default: return null;
  }
}

function say(app: App, block: Block, trace: TraceView): void {
  const { dim } = trace.manifest.stages[block.stage];
  app.say(`${blockName(block)}, ${block.title}. ${times(block.spatial)} tokens of ${dim} numbers.`);
}

interface ColumnProps { app: App; trace: TraceView; index: number; tallest: number }

function StageColumn({ app, trace, index, tallest }: ColumnProps): JSX.Element {
  const { stages, blocks, model } = trace.manifest;
  const stage = stages[index];
  const chosen = stage.blocks.includes(app.state.block.value);
  const shown = chosen ? app.state.block.value : stage.blocks[stage.blocks.length - 1];
  const { merge, spatial, stride, dim } = stage;
  const origin = merge ? `merged ${times(merge.factor)} → 1` : index ? "not merged" : `cut into patches of ${times(model.patch)}`;
  return (
    <div class={`stage${chosen ? " chosen" : ""}`} data-stage={index}>
      <div class="plane-box" style={{ minHeight: `${tallest}px` }}>
        <Plane app={app} trace={trace} block={shown} chosen={chosen} size={planeSize(stage, stages[0])} />
      </div>
      <p class="name">Stage {index + 1}</p>
      <p class="origin">{origin}</p>
      <dl class="sizes">
        <div><dt>tokens</dt><dd data-tokens={spatial.join("x")}>{times(spatial)}<small> = {count(spatial[0] * spatial[1])}</small></dd></div>
        <div><dt>each</dt><dd data-stride={stride.join("x")}>{times(stride)} pixels</dd></div>
        <div><dt>dim</dt><dd data-dim={dim}>{count(dim)} numbers</dd></div>
      </dl>
      <div class="beads" role="group" aria-label={`Blocks of stage ${index + 1}`}>
        {stage.blocks.map((number) => (
          <Bead key={number} app={app} block={blocks[number]} number={number} small={stage.blocks.length > 6} />
        ))}
      </div>
    </div>
  );
}

function Bead({ app, block, number, small }: { app: App; block: Block; number: number; small: boolean }): JSX.Element {
  const chosen = app.state.block.value === number;
  return (
    <button type="button" class={`bead ${tone(block)}${small ? " small" : ""}`} data-bead={number} aria-pressed={chosen}
      tabIndex={chosen ? 0 : -1} aria-label={`${block.label}: ${blockName(block)}, ${block.title}`} title={`${blockName(block)}: ${block.title}`}
      onClick={() => { chooseBlock(app, number); say(app, block, app.trace.value); }}>
      <Glyph block={block} /><span>{block.label}</span>
    </button>
  );
}

interface PlaneProps { app: App; trace: TraceView; block: number; chosen: boolean; size: PlaneSize }

function Plane({ app, trace, block, chosen, size }: PlaneProps): JSX.Element {
  const facts = trace.manifest.blocks[block];
  const [rows, columns] = facts.spatial;
  const { high, wide } = size;
  const rgb = useLoaded(() => trace.array(facts.rgb), [trace, block]).value;
  const place = facts.prefix > app.state.token.value || !chosen ? null
    : placeOf(facts, app.state.token.value, [rows * facts.stride[0], columns * facts.stride[1]]);
  const ref = usePaint((canvas) => {
    const skin = rgb && rgb.shape[0] === rows && rgb.shape[1] === columns ? texture(rgb.data as Uint8Array, rows, columns) : null;
    paintPlane(canvas, { ...size, rows, columns, place, texture: skin });
  }, [rgb, block, chosen, place?.join(), wide]);
  return (
    <div class="plane" style={{ width: `${wide}px`, height: `${high}px` }}>
      <canvas ref={ref} role="img" data-plane={block} style={{ width: `${wide}px`, height: `${high}px` }}
        aria-label={`${times(facts.spatial)} tokens of ${blockName(facts)}, coloured by their features`} />
    </div>
  );
}

function texture(rgb: Uint8Array, rows: number, columns: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = context.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) image.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
  context.putImageData(image, 0, 0);
  return canvas;
}

interface PlaneLook extends PlaneSize {
  rows: number;
  columns: number;
  place: [number, number] | null;
  texture: HTMLCanvasElement | null;
}

function paintPlane(canvas: HTMLCanvasElement, look: PlaneLook): void {
  const { width, depth, wide, high, rows, columns, place, texture: skin } = look;
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.ceil(wide * ratio), Math.ceil(high * ratio)];
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  // In units of the plane: across 0..width, deep 0..depth; a thin side makes it a slab.
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const left = 2;
  context.fillStyle = "rgb(60 54 70 / .55)";
  context.beginPath();
  context.moveTo(left, 1 + depth * DEEP);
  context.lineTo(left + width, 1 + depth * DEEP);
  context.lineTo(left + width + depth * SLANT, 1);
  context.lineTo(left + width + depth * SLANT, 4);
  context.lineTo(left + width, 4 + depth * DEEP);
  context.lineTo(left, 4 + depth * DEEP);
  context.fill();
  context.setTransform(ratio, 0, -SLANT * ratio, DEEP * ratio, (left + depth * SLANT) * ratio, ratio);
  context.imageSmoothingEnabled = false;
  if (skin) context.drawImage(skin, 0, 0, width, depth);
  else fillWith(context, DOTS(), 0, 0, width, depth);
  if (width / columns >= 5) lines(context, width, depth, rows, columns);
  if (!place) return;
  const [h, w] = [Math.max(depth / rows, 4), Math.max(width / columns, 4)];
  const [y, x] = [place[0] * depth - h / 2, place[1] * width - w / 2];
  for (const [ink, line] of [["rgb(0 0 0 / .7)", 4], ["#ffd84a", 2]] as const) {
    context.strokeStyle = ink;
    context.lineWidth = line;
    context.strokeRect(x, y, w, h);
  }
}

function lines(context: CanvasRenderingContext2D, width: number, depth: number, rows: number, columns: number): void {
  context.strokeStyle = "rgb(255 255 255 / .28)";
  context.lineWidth = 0.7;
  context.beginPath();
  for (let y = 1; y < rows; y++) { context.moveTo(0, y * depth / rows); context.lineTo(width, y * depth / rows); }
  for (let x = 1; x < columns; x++) { context.moveTo(x * width / columns, 0); context.lineTo(x * width / columns, depth); }
  context.stroke();
}

export const pyramid: View = { id: "pyramid", title: "Stages and blocks", Component: Pyramid };
