// Everything that the reach view shows of one token: theory, routing, gradient, and a method's map.
import { groupsOf } from "./groups";
import { rolloutStages, type StageRow } from "./rollout";
import { support, type Support } from "./support";
import type { Map2d } from "./rows";
import type { TraceView } from "./trace";

export interface Theory { support: Support; rows: StageRow[] | null }

// Where a token lies, and what can and does reach it, stage by stage.
export async function theory(trace: TraceView, block: number, token: number): Promise<Theory> {
  const { blocks } = trace.manifest;
  const below = blocks.slice(0, block + 1);
  const groups = await Promise.all(below.map((_, index) => groupsOf(trace, index)));
  const whole = below.every(({ mean, chosen }) => mean !== null && chosen === null);
  return { support: support(trace.manifest, groups, block, token), rows: whole ? await rolloutStages(trace, block, token) : null };
}

export interface Field { map: Map2d; own: boolean; stage: number; place: [number, number] }

// The effective receptive field of a token after its stage; where it cannot be had, that of the
// stage's middle token, and it says so.
export async function field(trace: TraceView, block: number, token: number): Promise<Field | null> {
  const { manifest, source } = trace;
  const { stage, prefix, spatial } = manifest.blocks[block];
  const stored = manifest.reach.find((reach) => reach.stage === stage)?.erf ?? null;
  const [y, x] = [Math.floor((token - prefix) / spatial[1]), (token - prefix) % spatial[1]];
  const centre: [number, number] = [Math.floor(spatial[0] / 2), Math.floor(spatial[1] / 2)];
  const middle = y === centre[0] && x === centre[1];
  const name = `erf/${stage}/${y}/${x}`;
  // Where not even the middle token's is stored, gradients are too slow to be requested with every token.
  if (token >= prefix && !(middle && stored) && ((manifest.on_demand && stored !== null) || source.has(name))) return { map: await trace.map2d(name), own: true, stage, place: [y, x] };
  return stored === null ? null : { map: await trace.map2d(stored), own: middle && token >= prefix, stage, place: centre };
}

// The half-width, in pixels, of the smallest disc around the map's centre of weight that holds half of it.
export function halfWithin({ height, width, values }: Map2d, input: readonly number[]): number {
  const [uy, ux] = [input[0] / height, input[1] / width];
  let [sum, cy, cx] = [0, 0, 0];
  values.forEach((value, i) => {
    sum += value;
    cy += value * (Math.floor(i / width) + 0.5) * uy;
    cx += value * ((i % width) + 0.5) * ux;
  });
  if (!(sum > 0)) return 0;
  [cy, cx] = [cy / sum, cx / sum];
  const cells = Array.from(values, (value, i) => ({ value, off: Math.hypot((Math.floor(i / width) + 0.5) * uy - cy, ((i % width) + 0.5) * ux - cx) }));
  cells.sort((a, b) => a.off - b.off);
  let held = 0;
  for (const { value, off } of cells) {
    held += value;
    if (held >= sum / 2) return off;
  }
  return cells[cells.length - 1].off;
}
