// How far a map can be trusted: areas of its deletion and insertion curves, against random orders.
import type { Manifest } from "./schema";
import type { TraceView } from "./trace";
import type { Point } from "./ui/Chart";

export type Faithfulness = NonNullable<Manifest["faithfulness"]>;
export interface Score { id: string; title: string; deletion: number; insertion: number }
export interface Verdict { deletion: boolean; insertion: boolean; words: string }
export interface Curves { id: string; title: string; deletion: Point[]; insertion: Point[] }
export interface Drawn { methods: Curves[]; random: Curves; low: Curves; high: Curves; centre: Curves }

export const titleOf = ({ methods }: Manifest, id: string): string =>
  methods.find((method) => method.id === id)?.title ?? ({ random: "Random order", centre: "Centre first" }[id] ?? id);

// Every map's areas, the references last.
export function scores(manifest: Manifest): Score[] {
  const found = manifest.faithfulness;
  if (!found) return [];
  const own = found.curves.map(({ method, deletion, insertion }) => ({ id: method, title: titleOf(manifest, method), deletion, insertion }));
  return [
    ...own,
    { id: "centre", title: "Centre first", deletion: found.centre.deletion, insertion: found.centre.insertion },
    { id: "random", title: "Random order", deletion: found.random.deletion, insertion: found.random.insertion },
  ];
}

// Does a map do better than random orders of pixels on this image?
export function verdict(manifest: Manifest, method: string): Verdict | null {
  const found = manifest.faithfulness;
  const score = found?.curves.find((curve) => curve.method === method);
  if (!found || !score) return null;
  const deletion = score.deletion < found.random.deletion;
  const insertion = score.insertion > found.random.insertion;
  const words = deletion && insertion ? "better than random orders, both ways, on this image"
    : deletion ? "better than random orders at deleting, not at inserting, on this image"
    : insertion ? "better than random orders at inserting, not at deleting, on this image"
    : "no better than random orders on this image";
  const centre = score.deletion < found.centre.deletion && score.insertion > found.centre.insertion;
  return { deletion, insertion, words: `${words}${centre ? ", and better than the centre outwards" : "; not better than the centre outwards, where photos have their subject"}` };
}

// All curves of a trace, as points: share of the pixels, and the probability that is left.
export async function curves(trace: TraceView): Promise<Drawn | null> {
  const { manifest } = trace;
  const found = manifest.faithfulness;
  if (!found) return null;
  const read = async (id: string, array: string): Promise<Curves> => {
    const { data, shape } = await trace.array(array);
    const steps = shape[1];
    const points = (row: number): Point[] => found.steps.slice(0, steps).map((share, i): Point => [share, Number(data[row * steps + i])]);
    return { id, title: titleOf(manifest, id), deletion: points(0), insertion: points(1) };
  };
  const [random, low, high, centre, ...methods] = await Promise.all([
    read("random", found.random.array), read("low", found.random.low), read("high", found.random.high), read("centre", found.centre.array),
    ...found.curves.map(({ method, array }) => read(method, array)),
  ]);
  return { methods, random, low, high, centre };
}
