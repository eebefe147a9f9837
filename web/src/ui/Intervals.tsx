// Means with their confidence intervals on one axis, a row each.
import { scaleLinear } from "d3-scale";
import type { JSX } from "preact";
import { useWidth } from "./Chart";

interface Row { id: string; title: string; interval: readonly [mean: number, low: number, high: number] | number[] }

const NAMES = 180; // pixels, for the longest name beside its row; where that is too much, names stand above

export function Intervals({ label, rows }: { label: string; rows: Row[] }): JSX.Element {
  const [frame, width] = useWidth();
  const above = NAMES > width * 0.5;
  const [left, step] = above ? [12, 40] : [NAMES, 24];
  const all = rows.flatMap(({ interval }) => interval);
  const across = scaleLinear().domain([Math.min(...all), Math.max(...all)]).nice(5).range([left, width - 12]);
  const height = rows.length * step + 40;
  const random = rows.find(({ id }) => id === "random")?.interval[0];
  const said = rows.map(({ title, interval: [mean, low, high] }) => `${title} ${mean.toFixed(3)}, from ${low.toFixed(3)} to ${high.toFixed(3)}`).join("; ");
  return (
    <div class="chart intervals" ref={frame}>
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={`${label}: ${said}`}>
        {random !== undefined && <line class="cursor" x1={across(random)} x2={across(random)} y1={6} y2={rows.length * step + 6} />}
        {rows.map(({ id, title, interval: [mean, low, high] }, i) => {
          const y = i * step + (above ? 32 : 18);
          return (
            <g key={id} class="whisker" data-method={id}>
              <text class="tick" x={above ? left : left - 8} y={above ? y - 12 : y + 4} text-anchor={above ? "start" : "end"}>{title}</text>
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
