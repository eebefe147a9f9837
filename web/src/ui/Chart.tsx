// Lines over axes: labelled where they end, by name or, where names need too much room, by a letter that
// a list below explains; so no colour is needed to read them.
import { scaleLinear, scaleLog } from "d3-scale";
import { useEffect, useRef, useState } from "preact/hooks";
import type { JSX } from "preact";

export type Point = readonly [x: number, y: number];
export interface Line { id: string; label: string; points: Point[]; tone: number; strong?: boolean; dashed?: boolean }
export interface Dot { id: string; x: number; y: number; tone: number; label: string }
export interface Axis { label: string; log?: boolean; domain?: [number, number]; ticks?: number[]; format: (n: number) => string }
export interface ChartProps {
  title: string; // the drawing's text for screen readers
  x: Axis;
  y: Axis;
  lines: Line[];
  dots?: Dot[];
  band?: { low: Point[]; high: Point[]; label: string };
  cursor?: number; // a vertical rule at this x
  height?: number;
}

interface Scale { (n: number): number; ticks(count?: number): number[]; domain(): number[] }

const TOP = 22;
const BOTTOM = 42;

export function Chart(props: ChartProps): JSX.Element {
  const [frame, width] = useWidth();
  const { height = 300, x, y, lines, dots = [], band, cursor } = props;
  const named = lines.filter(({ label }) => label);
  const labels = Math.max(0, ...named.map(({ label }) => label.length));
  const lettered = labels * 7 + 16 > width * 0.36;
  const right = lettered ? 26 : labels * 7 + 16;
  const letterOf = (line: Line): string => String.fromCharCode(65 + named.indexOf(line));
  const points = [...lines.flatMap((line) => line.points), ...dots.map((dot): Point => [dot.x, dot.y]), ...(band ? [...band.low, ...band.high] : [])];
  const up = scale(y, points.map(([, n]) => n), [height - BOTTOM, TOP]);
  const rules = yTicks(y, up);
  const left = Math.max(34, 12 + 6.6 * Math.max(0, ...rules.map((n) => y.format(n).length)));
  const across = scale(x, points.map(([n]) => n), [left, width - right]);
  const place = ([a, b]: Point): string => `${across(a).toFixed(1)},${up(b).toFixed(1)}`;
  const xTicks = (x.ticks ?? across.ticks(6)).filter(within(across));
  return (
    <div class="chart" ref={frame}>
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={props.title}>
        {rules.map((n) => (
          <g key={n}>
            <line class="rule" x1={left} x2={width - right} y1={up(n)} y2={up(n)} />
            <text class="tick" x={left - 7} y={up(n) + 4} text-anchor="end">{y.format(n)}</text>
          </g>
        ))}
        {spread(xTicks, across, x.format).map(({ n, said }) => (
          <g key={n}>
            <line class="mark" x1={across(n)} x2={across(n)} y1={height - BOTTOM} y2={height - BOTTOM + 5} />
            {said && <text class="tick" x={across(n)} y={height - BOTTOM + 18} text-anchor="middle">{said}</text>}
          </g>
        ))}
        <text class="axis" x={(left + width - right) / 2} y={height - 5} text-anchor="middle">{x.label}</text>
        <text class="axis" x={4} y={10} text-anchor="start">{y.label}</text>
        {band && <path class="band" d={`M${band.low.map(place).join("L")}L${[...band.high].reverse().map(place).join("L")}Z`}><title>{band.label}</title></path>}
        {cursor !== undefined && <line class="cursor" x1={across(cursor)} x2={across(cursor)} y1={TOP} y2={height - BOTTOM} />}
        {lines.map((line) => (
          <g key={line.id} class={`line tone-${line.tone}${line.strong ? " strong" : ""}${line.dashed ? " dashed" : ""}`} data-line={line.id}>
            <path d={`M${line.points.map(place).join("L")}`} />
            {line.points.length === 1 && <circle cx={across(line.points[0][0])} cy={up(line.points[0][1])} r="3" />}
          </g>
        ))}
        {dots.map((dot) => (
          <circle key={`${dot.id} ${dot.x}`} class={`dot tone-${dot.tone}`} cx={across(dot.x)} cy={up(dot.y)} r="4.5" data-dot={dot.id}><title>{dot.label}</title></circle>
        ))}
        {beside(named, up, TOP, height - BOTTOM).map(({ line, y: at }) => (
          <text key={line.id} class={`name tone-${line.tone}${line.strong ? " strong" : ""}`} x={width - right + 8} y={at + 4}>{lettered ? letterOf(line) : line.label}</text>
        ))}
      </svg>
      {lettered && <ul class="letters">
        {named.map((line) => <li key={line.id} class={`tone-${line.tone}`}><b>{letterOf(line)}</b> {line.label}</li>)}
      </ul>}
    </div>
  );
}

function scale(axis: Axis, values: number[], range: [number, number]): Scale {
  const fit = values.filter((n) => Number.isFinite(n) && (!axis.log || n > 0));
  const [low, high] = axis.domain ?? [Math.min(...fit), Math.max(...fit)];
  const made = (axis.log ? scaleLog() : scaleLinear()).domain(fit.length || axis.domain ? [low, high === low ? low + 1 : high] : [1, 10]).range(range);
  return made as unknown as Scale;
}

function within(of: Scale): (n: number) => boolean {
  const [low, high] = of.domain();
  return (n) => n >= low && n <= high;
}

// Whole powers of ten where there are several; a few steps between them where there are not.
function yTicks(axis: Axis, of: Scale): number[] {
  if (axis.ticks) return axis.ticks;
  if (!axis.log) return of.ticks(5);
  const all = of.ticks(10);
  const powers = all.filter((n) => Number.isInteger(Math.round(Math.log10(n) * 1e6) / 1e6));
  return powers.length > 1 ? powers : all.filter((n) => [1, 2, 5].includes(Math.round(n / 10 ** Math.floor(Math.log10(n) + 1e-9))));
}

// Ticks whose words would run into the ones before keep their mark only.
function spread(ticks: number[], of: Scale, format: (n: number) => string): { n: number; said: string }[] {
  let end = -Infinity;
  return ticks.map((n) => {
    const said = format(n);
    const half = said.length * 3.6;
    if (of(n) - half < end + 6) return { n, said: "" };
    end = of(n) + half;
    return { n, said };
  });
}

// Where lines end, their names stand, moved apart where they would cover one another.
function beside(lines: Line[], up: Scale, top: number, bottom: number): { line: Line; y: number }[] {
  const step = 15;
  const placed = lines.flatMap((line) => {
    const last = line.points[line.points.length - 1];
    return last ? [{ line, y: Math.max(top, Math.min(bottom, up(last[1]))) }] : [];
  }).sort((a, b) => a.y - b.y);
  placed.forEach((item, i) => { if (i) item.y = Math.max(item.y, placed[i - 1].y + step); });
  for (let i = placed.length - 1; i >= 0; i--) {
    placed[i].y = Math.min(placed[i].y, i + 1 < placed.length ? placed[i + 1].y - step : bottom);
  }
  return placed;
}

// The width that the page leaves for an element, in CSS pixels.
export function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const frame = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(600);
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const look = (): void => setWidth(Math.max(200, Math.floor(element.clientWidth)));
    look();
    const watch = new ResizeObserver(look);
    watch.observe(element);
    return () => watch.disconnect();
  }, []);
  return [frame, width];
}
