// The merge lens: the tokens that become one, what each gives, and the pixels they stand for.
import type { JSX } from "preact";
import { useCallback } from "preact/hooks";
import { MARK } from "../draw/colour";
import { DOTS, fillWith } from "../draw/hatch";
import { outline, pen, strokeEdges } from "../draw/heat";
import type { Box, Pair } from "../grid";
import { mergingOf, unmerged, type Merging } from "../merging";
import { prelude } from "../python";
import { chooseBlock, placeOf, tokenAt, type App } from "../state";
import { Figure, type TableData } from "../ui/Figure";
import { useLoaded, usePaint } from "../ui/hooks";
import type { View } from "../view";
import { count, share, times } from "../words";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";
const letter = (child: number): string => LETTERS[child] ?? String(child + 1);

function Merge({ app }: { app: App }): JSX.Element {
  const trace = app.trace.value;
  const { block, token } = app.state;
  const needs = [trace, block.value, token.value];
  const { value: merging, fresh, error } = useLoaded(() => mergingOf(trace, block.value, token.value), needs);
  const image = useLoaded(() => trace.image("shown"), [trace]).value;
  if (error) return <p class="warning" role="alert">{error}</p>;
  if (!merging) return fresh ? <Without app={app} /> : <div class="merge-view" />;
  const { stages } = trace.manifest;
  return (
    <div class="merge-view">
      <h2>From stage {merging.stage} to stage {merging.stage + 1}</h2>
      <p class="note">
        {merging.into && "The chosen token was not merged but cut from the photo; what you see is the merge that it goes into. "}
        {times(merging.factor)} neighbours become one token. {overlapWords(merging)}Their {merging.children.length}{" "}
        times {count(merging.dims[0])} numbers are mixed into {count(merging.dims[1])}; the grid shrinks from{" "}
        {times(merging.before)} to {times(merging.after)} tokens, and each now stands for {times(merging.stride)} pixels.
      </p>
      {stages.filter(({ merge }) => merge).length > 1 && <Jumps app={app} merging={merging} />}
      {image && <Lens app={app} merging={merging} image={image} />}
    </div>
  );
}

function overlapWords({ overlap, factor }: Merging): string {
  if (!overlap.some((n) => n > 0)) return "";
  return `This merge is a convolution that overlaps its neighbours: beside its own ${times(factor)} tokens it looks at ${times(overlap)} `
    + "more around them (dotted); what those give is not counted in the shares. ";
}

function Without({ app }: { app: App }): JSX.Element {
  const { manifest } = app.trace.value;
  return (
    <div class="merge-view">
      <h2>No merge here</h2>
      <p class="note" data-unmerged>{unmerged(manifest, app.state.block.value, app.state.token.value)}</p>
    </div>
  );
}

// To the same place of the photo in each stage that a merge opens.
function Jumps({ app, merging }: { app: App; merging: Merging }): JSX.Element {
  const { stages } = app.trace.value.manifest;
  return (
    <div class="switch" role="group" aria-label="Which merge">
      {stages.map(({ merge, blocks }, stage) => merge && (
        <button type="button" key={stage} data-merge={stage} aria-pressed={stage === merging.stage}
          onClick={() => chooseBlock(app, blocks[0])}>{stage} → {stage + 1}</button>
      ))}
    </div>
  );
}

const SHARE_WORDS = "A share is how loud a child is: the length of what the merge adds for it, of the sum of all. Parts may cancel "
  + "one another, and a loud child can still be ignored later.";

interface LensProps { app: App; merging: Merging; image: ImageBitmap }

function Lens({ app, merging, image }: LensProps): JSX.Element {
  const { children } = merging;
  const table = useCallback(() => childTable(merging), [merging]);
  const numbers = useCallback(() => ({
    shape: [children.length], data: Float32Array.from(children, (child) => child.share ?? NaN),
  }), [merging]);
  const place = `row ${merging.parent[0] + 1}, column ${merging.parent[1] + 1}`;
  return (
    <Figure app={app} id="merge" title={`What becomes the token at ${place} of stage ${merging.stage + 1}`} table={table}
      numbers={numbers} python={() => mergeCode(app, merging)} caption={SHARE_WORDS}>
      <div class="lens">
        <Footprint app={app} merging={merging} image={image} />
        <div class="lens-pair">
          <Crop merging={merging} image={image} split label={`The ${children.length} children`}
            words={`${children.length} tokens of ${count(merging.dims[0])} numbers`} />
          <span class="arrow" aria-hidden="true">→</span>
          <Crop merging={merging} image={image} split={false} label="Their parent" words={`one token of ${count(merging.dims[1])} numbers`} />
        </div>
        <Shares merging={merging} />
      </div>
    </Figure>
  );
}

function Shares({ merging }: { merging: Merging }): JSX.Element {
  const { children } = merging;
  if (children.some((child) => child.share === null)) {
    return <p class="note">What each child gives is not known for this kind of merge.</p>;
  }
  const most = Math.max(...children.map((child) => child.share as number));
  return (
    <ul class="shares" aria-label="What each child gives">
      {children.map((child, i) => (
        <li key={i} data-child={i} data-share={child.share} class={child.own ? "own" : ""}>
          <b>{letter(i)}</b>
          <span>{child.token < 0 ? "padding" : `row ${child.place[0] + 1}, column ${child.place[1] + 1}`}{child.own ? " (chosen)" : ""}</span>
          <span class="bar-back" aria-hidden="true">
            <span class="bar-fill" style={{ width: `${100 * (child.share as number) / (most || 1)}%` }} />
          </span>
          <span class="number">{share(child.share as number)}</span>
        </li>
      ))}
    </ul>
  );
}

const MOVES: Record<string, Pair> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// The whole photo with the pixels that the parent stands for; a click or an arrow chooses another.
function Footprint({ app, merging, image }: LensProps): JSX.Element {
  const { photo, blocks } = app.trace.value.manifest;
  const [high, wide] = photo.input;
  const { parent, stride } = merging;
  const ref = usePaint((canvas, width) => {
    const scale = Math.min(width / wide, 420 / high);
    [canvas.style.width, canvas.style.height] = [`${wide * scale}px`, `${high * scale}px`];
    const context = pen(canvas, wide * scale, high * scale);
    context.drawImage(image, 0, 0, wide * scale, high * scale);
    const unit = stride.map((n) => n * scale);
    context.beginPath();
    context.rect(0, 0, wide * scale, high * scale);
    context.rect(parent[1] * unit[1], parent[0] * unit[0], unit[1], unit[0]);
    context.fillStyle = "rgb(12 10 18 / .42)";
    context.fill("evenodd");
    strokeEdges(context, childLines(merging), merging.below.map((n) => n * scale), "#fff", 1.5, [], 1);
    const around = frameOf(merging);
    if (around) strokeEdges(context, around, merging.below.map((n) => n * scale), "#fff", 1.5, [2, 3]);
    strokeEdges(context, outline(...parent), unit, MARK, 3);
  }, [merging, image]);
  const facts = blocks[app.state.block.value];
  const go = (place: Pair): void => {
    const token = tokenAt(facts, place, photo.input);
    app.state.token.value = token;
    app.say(`Row ${Math.floor((token - facts.prefix) / facts.spatial[1]) + 1}, column ${(token - facts.prefix) % facts.spatial[1] + 1}.`);
  };
  const press = (event: KeyboardEvent): void => {
    const step = MOVES[event.key];
    if (!step) return;
    event.preventDefault();
    const [y, x] = placeOf(facts, app.state.token.value, photo.input);
    go([y + step[0] * facts.stride[0] / high, x + step[1] * facts.stride[1] / wide]);
  };
  const click = (event: MouseEvent): void => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    go([(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width]);
  };
  return (
    <div class="footprint">
      <div><canvas ref={ref} tabIndex={0} role="application" aria-roledescription="picture of tokens" data-footprint={parent.join()}
        aria-label="The photo with the pixels of the merged token; arrows choose another" onClick={click} onKeyDown={press} /></div>
      <p>its pixels: rows {parent[0] * stride[0]}–{Math.min(high, (parent[0] + 1) * stride[0]) - 1}, columns{" "}
        {parent[1] * stride[1]}–{Math.min(wide, (parent[1] + 1) * stride[1]) - 1}</p>
    </div>
  );
}

// Borders between the children, in tokens of the grid below.
function childLines({ parent, factor }: Merging): Box[] {
  const [top, left] = [parent[0] * factor[0], parent[1] * factor[1]];
  const lines: Box[] = [];
  for (let y = 1; y < factor[0]; y++) lines.push([top + y, left, top + y, left + factor[1]]);
  for (let x = 1; x < factor[1]; x++) lines.push([top, left + x, top + factor[0], left + x]);
  return lines;
}

function frameOf({ parent, factor, overlap }: Merging): Box[] | null {
  if (!overlap.some((n) => n > 0)) return null;
  const [y, x] = [0, 1].map((axis) => parent[axis] * factor[axis] - overlap[axis]);
  return outline(y, x, factor[0] + 2 * overlap[0], factor[1] + 2 * overlap[1]);
}

// The parent's pixels and a little around them, large; split into its children, or as one.
interface CropProps { merging: Merging; image: ImageBitmap; split: boolean; label: string; words: string }

function Crop({ merging, image, split, label, words }: CropProps): JSX.Element {
  const { parent, stride, factor, children, before, below } = merging;
  const ref = usePaint((canvas, width) => {
    const size = Math.min(220, width);
    const [h, w] = [size * Math.min(1, stride[0] / stride[1]), size * Math.min(1, stride[1] / stride[0])];
    [canvas.style.width, canvas.style.height] = [`${w}px`, `${h}px`];
    const context = pen(canvas, w, h);
    const unit = [h / 2, w / 2]; // of a parent: it fills half of the picture, and neighbours the rest
    fillWith(context, DOTS(), 0, 0, w, h);
    const grid = before.map((n, axis) => n * below[axis] / stride[axis]);
    const [fy, fx] = [0, 1].map((axis) => grid[axis] * unit[axis]);
    context.drawImage(image, (0.5 - parent[1]) * unit[1], (0.5 - parent[0]) * unit[0], fx, fy);
    context.beginPath();
    context.rect(0, 0, w, h);
    context.rect(w / 4, h / 4, unit[1], unit[0]);
    context.fillStyle = "rgb(12 10 18 / .5)";
    context.fill("evenodd");
    const cell = [unit[0] / factor[0], unit[1] / factor[1]];
    const start = [h / 4 / cell[0], w / 4 / cell[1]];
    if (split) {
      const moved = childLines({ ...merging, parent: [0, 0] })
        .map(([y0, x0, y1, x1]): Box => [y0 + start[0], x0 + start[1], y1 + start[0], x1 + start[1]]);
      strokeEdges(context, moved, cell, "#fff", 2);
      children.forEach((child, i) => name(context, child.own ? `${letter(i)} ★` : letter(i),
        (start[1] + i % factor[1] + 0.5) * cell[1], (start[0] + Math.floor(i / factor[1]) + 0.5) * cell[0]));
    }
    strokeEdges(context, outline(0.5, 0.5), unit, MARK, 3);
  }, [merging, image]);
  return (
    <div class="crop">
      <p class="head-name">{label}</p>
      <div><canvas ref={ref} role="img" aria-label={`${label}: ${words}`} /></div>
      <p>{words}</p>
    </div>
  );
}

function name(context: CanvasRenderingContext2D, text: string, x: number, y: number): void {
  context.font = '650 15px system-ui, "DejaVu Sans", sans-serif';
  [context.textAlign, context.textBaseline, context.lineJoin] = ["center", "middle", "round"];
  context.strokeStyle = "rgb(0 0 0 / .75)";
  context.lineWidth = 4;
  context.strokeText(text, x, y);
  context.fillStyle = "#fff";
  context.fillText(text, x, y);
}

function childTable({ children, below }: Merging): TableData {
  return {
    columns: ["child", "row", "column", "pixel rows", "pixel columns", "share"],
    rows: children.map(({ place, share: gives, token }, i) => [
      token < 0 ? `${letter(i)} (padding)` : letter(i), String(place[0] + 1), String(place[1] + 1),
      `${place[0] * below[0]}–${(place[0] + 1) * below[0] - 1}`, `${place[1] * below[1]}–${(place[1] + 1) * below[1] - 1}`,
      gives ?? "not known",
    ]),
    data: (i) => ({ "data-token": children[i].token, "data-weight": children[i].share?.toFixed(7) ?? "" }),
  };
}

function mergeCode(app: App, { number, parent }: Merging): string {
  return [
    prelude(app), `merge = trace.merges[${number}]`,
    `shares = merge.share[${parent.join(", ")}]  # of the children, row by row`,
  ].join("\n");
}

export const merge: View = { id: "merge", title: "Merge", Component: Merge };
