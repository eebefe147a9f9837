// Under the picture: roll the shift, enlarge, choose how strongly the heat covers the photo.
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { weightsOf, type QueryData } from "../query";
import { mostZoom, WHOLE, zoomAt } from "../camera";
import { colour, css } from "../draw/colour";
import { greatest } from "../draw/heat";
import type { Grid } from "../grid";
import { spotWeights } from "../scene";
import type { App } from "../state";
import { Slider } from "../ui/Slider";
import { share } from "../words";
import type { Look } from "./look";

const ROLL = 1100; // ms from the photo's place to the place where it is computed

export function Controls({ app, grid, look }: { app: App; grid: Grid; look: Look }): JSX.Element {
  const { zoom, fit } = look;
  const most = fit.value ? mostZoom(fit.value) : 1;
  const { factor } = zoom.value;
  const enlarge = (by: number) => () => { zoom.value = by ? zoomAt(zoom.value, zoom.value.factor * by, most) : WHOLE; };
  return (
    <div class="controls">
      {grid.rolls && <Roll app={app} />}
      <div class="zoom" role="group" aria-label="Enlarge the picture">
        <button type="button" data-zoom="out" aria-label="Smaller" disabled={factor <= 1} onClick={enlarge(1 / 1.5)}>−</button>
        <output>{factor.toFixed(1)}×</output>
        <button type="button" data-zoom="in" aria-label="Larger" disabled={factor >= most} onClick={enlarge(1.5)}>+</button>
        {factor > 1 && <button type="button" data-zoom="whole" onClick={enlarge(0)}>whole photo</button>}
      </div>
      <Slider label="Heat" value={Math.round(100 * look.strength.value)} min={0} max={100} words={(n) => `${n}\u00a0%`}
        onInput={(n) => { look.strength.value = n / 100; }} />
      <label class="check">
        <input type="checkbox" checked={look.pixels.value}
          onInput={(event) => { look.pixels.value = event.currentTarget.checked; }} />
        show what the model sees
      </label>
      <p class="note" id="canvas-hint">
        Point at a token to see its keys; click or tap to keep it, then point at its keys; with a finger, slide across the picture or tap the keys cut out. Keyboard: arrows move, Home and End go to
        the row’s ends, Page Up and Page Down change the block, + and − enlarge, Escape lets go.
      </p>
    </div>
  );
}

// The slider that rolls the shift, and a button that plays it.
function Roll({ app }: { app: App }): JSX.Element {
  const { shift } = app.state;
  const frame = useRef(0);
  useEffect(() => () => cancelAnimationFrame(frame.current), []);
  const play = (): void => {
    cancelAnimationFrame(frame.current);
    const [from, to] = [shift.value, shift.value < 0.5 ? 1 : 0];
    app.say(to ? "Rolled, as it is computed." : "Back at the photo’s place.");
    if (app.reduced) { shift.value = to; return; }
    const start = performance.now();
    const go = (now: number): void => {
      const t = Math.min(1, Math.max(0, (now - start) / ROLL));
      shift.value = from + (to - from) * (t * t * (3 - 2 * t));
      if (t < 1) frame.current = requestAnimationFrame(go);
    };
    frame.current = requestAnimationFrame(go);
  };
  const words = (n: number): string => (n <= 0 ? "the photo’s place" : n >= 100 ? "as computed" : `${n}\u00a0%`);
  return (
    <div class="roll">
      <Slider label="Roll the shift" value={Math.round(100 * shift.value)} min={0} max={100} words={words}
        onInput={(n) => { cancelAnimationFrame(frame.current); shift.value = n / 100; }} />
      <button type="button" data-roll onClick={play}>{shift.value < 0.5 ? "Roll it" : "Roll back"}</button>
    </div>
  );
}

const STOPS = Array.from({ length: 11 }, (_, i) => i / 10);

// What the colours and the patterns mean. The scale is a drawing, so that it travels with the picture.
export function Legend({ queryData, head }: { queryData: QueryData; head: number }): JSX.Element {
  const { grid, row, slot } = queryData;
  const weights = weightsOf(row, head);
  const most = Math.max(greatest(weights), greatest(spotWeights(grid, grid.group(slot), weights)));
  const masked = row.keys.some((token, key) => token >= 0 && !row.allowed[key]);
  const padded = grid.padded[0] * grid.padded[1] > grid.rows * grid.columns;
  return (
    <div class="legend">
      <svg class="scale" viewBox="0 0 220 26" role="img" aria-label={`Colours: weights from 0 to ${share(most)}`}>
        <defs>
          <linearGradient id="scale-weight">
            {STOPS.map((at) => <stop key={at} offset={at} stop-color={css(colour(at))} />)}
          </linearGradient>
        </defs>
        <rect width="220" height="10" rx="3" fill="url(#scale-weight)" />
        <text x="0" y="23" font-size="11">0 %</text>
        <text x="110" y="23" font-size="11" text-anchor="middle">weight</text>
        <text x="220" y="23" font-size="11" text-anchor="end">{share(most)}</text>
      </svg>
      <p class="swatches">
        <span><i class="query" /> query</span>
        {masked && <span><i class="hatch" /> masked</span>}
        {padded && <span><i class="dots" /> padding, no token</span>}
        {grid.rolls && <span><i class="before" /> borders before the shift</span>}
      </p>
    </div>
  );
}
