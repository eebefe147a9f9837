// Weight that goes where it should not, by block and head; and whether stored rows still sum to one.
import { decodeRow } from "./rows";
import type { TraceView } from "./trace";

export interface Leak { block: number; padding: number[]; wrap: number[] }
export interface Sums { rows: number; worst: number }

const [PADDING, WRAP] = [3, 4]; // columns of a block's stats

export function leaks(trace: TraceView): Promise<Leak[]> {
  return Promise.all(trace.manifest.blocks.map(async ({ stats }, block) => {
    const { data, shape: [heads, columns] } = await trace.array(stats);
    const column = (at: number): number[] => Array.from({ length: heads }, (_, head) => Number(data[head * columns + at]));
    return { block, padding: column(PADDING), wrap: column(WRAP) };
  }));
}

// Decode every stored row of every token, block by block, so that the page stays awake in between.
export async function sums(trace: TraceView): Promise<Sums> {
  const result = { rows: 0, worst: 0 };
  for (const facts of trace.manifest.blocks) {
    if (!facts.mean) continue;
    const [{ data: codes }, { data: queries }, slots] = await Promise.all([
      trace.array(facts.mean), trace.array(facts.queries), facts.chosen === null ? null : trace.array(facts.chosen),
    ]);
    const stored = slots ? Array.from(slots.data) : Array.from(queries, (_, slot) => slot);
    stored.forEach((slot, place) => {
      if (queries[slot] < 0) return; // padding is no query
      const sum = decodeRow(codes as Uint8Array, place * facts.keys_per_group, facts.keys_per_group).reduce((total, p) => total + p, 0);
      result.rows += 1;
      result.worst = Math.max(result.worst, Math.abs(sum - 1));
    });
    await new Promise((done) => setTimeout(done));
  }
  return result;
}
