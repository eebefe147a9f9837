// Means with their confidence intervals on one axis, a row each.
import { scaleLinear } from "d3-scale";
import type { JSX } from "preact";
import { useWidth } from "./Chart";

interface Row { id: string; title: string; interval: readonly [mean: number, low: number, high: number] | number[] }

const STEP = 24;
const NAMES = 172; // pixels, for the longest name

export function Intervals({ label, rows }: { label: string; rows: Row[] }): JSX.Element {
  const [frame, width] = useWidth();
  const left = Math.min(NAMES, width * 0.55);
  const all = rows.flatMap(({ interval }) => interval);
  const across = scaleLinear().domain([Math.min(...all), Math.max(...all)]).nice(5).range([left, width - 12]);
  const height = rows.length * STEP + 40;
  const random = rows.find(({ id }) => id === "random")?.interval[0];
  const said = rows.map(({ title, interval: [mean, low, high] }) => `${title} ${mean.toFixed(3)}, from ${low.toFixed(3)} to ${high.toFixed(3)}`).join("; ");
  return (
    <div class="chart intervals" ref={frame}>
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={`${label}: ${said}`}>
        {random !== undefined && <line class="cursor" x1={across(random)} x2={across(random)} y1={6} y2={rows.length * STEP + 6} />}
        {rows.map(({ id, title, interval: [mean, low, high] }, i) => {
          const y = i * STEP + 18;
          return (
            <g key={id} class="whisker" data-method={id}>
              <text class="tick" x={left - 8} y={y + 4} text-anchor="end">{title}</text>
              <line x1={across(low)} x2={across(high)} y1={y} y2={y} />
              <line x1={across(low)} x2={across(low)} y1={y - 5} y2={y + 5} />
              <line x1={across(high)} x2={across(high)} y1={y - 5} y2={y + 5} />
              <circle cx={across(mean)} cy={y} r="4.5"><title>{title}: {mean.toFixed(3)}</title></circle>
            </g>
          );
        })}
        {across.ticks(4).map((n) => <text key={n} class="tick" x={across(n)} y={height - 20} text-anchor="middle">{n}</text>)}
        <text class="axis" x={(left + width) / 2} y={height - 4} text-anchor="middle">{label}</text>
      </svg>
    </div>
  );
}
