// The photo with its tokens: choose one, see its group, and how much it takes from each key.
import type { JSX } from "preact";
import { useCallback, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { spoken, useQuery, useFrames, weightsOf, type QueryData } from "../query";
import { fit } from "../camera";
import { colour, css } from "../draw/colour";
import { greatest } from "../draw/heat";
import type { Pair } from "../grid";
import { Painter, spotWeights, type QueryRow } from "../scene";
import { placeOf, type App } from "../state";
import { useLoaded, useWidth } from "../ui/hooks";
import type { View } from "../view";
import { blockName, capital } from "../words";
import { Controls, Legend } from "./controls";
import { newLook, type Look } from "./look";
import { listen } from "./pointing";
import { KeysFigure, Panel, Readout } from "./keys";

function Canvas({ app }: { app: App }): JSX.Element {
  const look = useMemo(newLook, []);
  const { queryData, error } = useQuery(app, { hover: look.hover });
  const facts = app.trace.value.manifest.blocks[app.state.block.value];
  const now = queryData.value;
  useLayoutEffect(() => {
    [look.hover.value, look.key.value] = [-1, -1];
  }, [app.state.block.value]);
  useLayoutEffect(() => {
    if (!now || now.hovered || !look.spoke.value) return;
    look.spoke.value = false;
    app.say(spoken(now, app.state.head.value, now.trace.manifest.photo.input));
  }, [now]);
  return (
    <div class="canvas-view">
      <div class="canvas-main">
        <h2>{capital(blockName(facts))}: {facts.title}</h2>
        <p class="note">{facts.text}</p>
        {error.value && <p class="warning" role="alert">{error.value}</p>}
        {now && <KeysFigure app={app} queryData={now} readout={<Readout app={app} queryData={now} look={look} />}>
          <Picture app={app} queryData={now} look={look} />
          <Legend queryData={now} head={app.state.head.value} />
        </KeysFigure>}
        {now && <Controls app={app} grid={now.grid} look={look} />}
      </div>
      {now && <Panel app={app} queryData={now} look={look} />}
    </div>
  );
}

// The row as it is painted; the same object while nothing changed, so that paths are kept.
function queryRowOf({ grid, row, slot }: QueryData, head: number): QueryRow {
  const weights = weightsOf(row, head);
  return { slot, row: weights, most: Math.max(greatest(weights), greatest(spotWeights(grid, grid.group(slot), weights))) };
}

function Picture({ app, queryData, look }: { app: App; queryData: QueryData; look: Look }): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const width = useWidth(frame);
  const painter = useMemo(() => new Painter(), []);
  const images = useLoaded(() => Promise.all([queryData.trace.image("shown"), queryData.trace.image("seen")]), [queryData.trace]);
  const queryRow = useMemo(() => queryRowOf(queryData, app.state.head.value), [queryData, app.state.head.value]);
  const { grid, facts } = queryData;
  const beside = facts.prefix ? 56 : 0;
  useLayoutEffect(() => {
    const highest = Math.max(280, Math.min(680, innerHeight * 0.78));
    if (width > beside) look.fit.value = fit(grid, facts.stride, width - beside, highest);
  }, [grid, width, beside]);
  const latest = useRef(queryData);
  latest.current = queryData;
  useLayoutEffect(() => listen(canvas.current as HTMLCanvasElement, app, look, () => latest.current), [app, look]);
  const draw = useCallback(() => {
    const [size, zoom, roll] = [look.fit.value, look.zoom.value, app.state.shift.value];
    const [strength, pixels, key] = [look.strength.value, look.pixels.value, look.key.value];
    const images_ = images.value;
    if (!size || !images_) return undefined;
    return () => {
      const target = canvas.current;
      if (!target) return;
      const { input } = queryData.trace.manifest.photo;
      // Of a large image, what the model sees is finer than the picture for the whole page.
      const finer = zoom.factor > 1.5 && images_[1].width > images_[0].width;
      target.style.width = `${size.width}px`;
      target.style.height = `${size.height}px`;
      painter.paint(target, {
        grid, block: queryData.block, photo: images_[pixels || finer ? 1 : 0], pixelated: pixels, queryRow, strength, key,
        extent: input.map((n, axis) => n / facts.stride[axis]) as Pair,
      }, {
        width: size.width, height: size.height, unit: size.unit.map((n) => n * zoom.factor) as Pair, roll,
        origin: zoom.origin.map((from, axis) => from * grid.padded[axis]) as Pair,
      });
      target.dataset.painted = `${queryData.block} ${queryData.row.token} ${app.state.head.peek()}`;
    };
  }, [queryData, queryRow, images.value]);
  useFrames(draw, [draw]);
  const [y, x] = placeOf(facts, app.state.token.value, queryData.trace.manifest.photo.input);
  return (
    <div class="canvas-frame" ref={frame}>
      {facts.prefix > 0 && <Prefix app={app} queryData={queryData} look={look} queryRow={queryRow} />}
      <canvas ref={canvas} class="canvas" tabIndex={0} role="application" data-canvas data-place={`${y} ${x}`}
        aria-roledescription="picture of tokens" aria-describedby="canvas-hint"
        aria-label={`The photo cut into ${facts.spatial.join(" by ")} tokens`} />
    </div>
  );
}

// Prefix tokens have no place in the photo: they stand beside it, coloured as keys, to be chosen.
interface PrefixProps { app: App; queryData: QueryData; look: Look; queryRow: QueryRow }

function Prefix({ app, queryData, look, queryRow }: PrefixProps): JSX.Element {
  const { facts, row } = queryData;
  return (
    <div class="prefix" role="group" aria-label="Prefix tokens, without a place in the photo">
      {Array.from({ length: facts.prefix }, (_, token) => (
        <PrefixChip key={token} token={token} many={facts.prefix > 1} chosen={row.token === token}
          weight={queryRow.row[row.keys.indexOf(token)] ?? null} most={queryRow.most}
          onChoose={() => { look.spoke.value = true; look.kept.value = true; app.state.token.value = token; }} />
      ))}
    </div>
  );
}

interface ChipProps { token: number; many: boolean; chosen: boolean; weight: number | null; most: number; onChoose(): void }

function PrefixChip({ token, many, chosen, weight, most, onChoose }: ChipProps): JSX.Element {
  const name = many ? `+${token + 1}` : "CLS";
  const said = `${name}, prefix token ${token + 1}${weight === null ? "" : `, gets ${(100 * weight).toFixed(2)} %`}`;
  return (
    <button type="button" data-prefix={token} aria-pressed={chosen} title={said} onClick={onChoose}>
      <i style={weight === null ? {} : { background: css(colour(weight / (most || 1))) }} />
      <span>{name}</span>
      {weight !== null && <span class="number" aria-hidden="true">{(100 * weight).toFixed(1)}</span>}
    </button>
  );
}

export const canvas: View = { id: "canvas", title: "In the photo", Component: Canvas };
