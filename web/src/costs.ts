// What can be counted of a mechanism at each given size, and how it is said.
import type { Manifest } from "./schema";
import type { Point } from "./ui/Chart";
import { count, scaled } from "./words";

const short = (n: number, unit: string): string => scaled(n, unit).replace(/\.0+(?=\u00a0)/, "");

type Cost = Manifest["cost"];
type Mechanism = Cost["mechanisms"][number];

// One thing that can be counted: how to get it for each size, and how to say it.
export interface Metric {
  id: string;
  title: string;
  axis: string;
  text: string;
  of: (cost: Cost, mechanism: Mechanism) => Point[];
  say: (n: number) => string;
}

const given = (cost: Cost, values: number[]): Point[] =>
  cost.sizes.flatMap((size, i): Point[] => (values[i] > 0 ? [[size, values[i]]] : []));

export const METRICS: Metric[] = [
  { id: "flops", title: "Operations", axis: "operations of one forward pass", say: (n) => short(n, "FLOP"),
    text: "Multiplications and additions of the whole model, counted from its structure.",
    of: (cost, { flops }) => given(cost, flops) },
  { id: "attention", title: "Attention alone", axis: "operations of attention's two products", say: (n) => short(n, "FLOP"),
    text: "Queries with keys, and weights with values: the part that differs most between mechanisms.",
    of: (cost, { attention_flops }) => given(cost, attention_flops) },
  { id: "memory", title: "Memory", axis: "most bytes alive in a forward pass", say: (n) => short(n, "B"),
    text: "Weights, input and everything alive at the worst moment of a forward pass, where each group's weights are written out.",
    of: (cost, { memory }) => given(cost, memory) },
  { id: "pairs", title: "Pairs", axis: "pairs of tokens that may attend", say: (n) => short(n, ""),
    text: "How many pairs of a query and a key all blocks permit together.",
    of: (cost, { pairs }) => given(cost, pairs) },
  { id: "time", title: "Time", axis: "time of one forward pass", say: (n) => (n < 1000 ? `${Number(n.toPrecision(3))}\u00a0ms` : `${count(Number((n / 1000).toPrecision(3)))}\u00a0s`),
    text: "Circles were measured on the machine that wrote this. Lines are counted operations at the rate of the circle; dashed ones belong to mechanisms that were not measured and are only a guess.",
    of: rated },
];

// Counted operations as time: at the rate of the middle one of the measured points; a mechanism that
// was not measured goes at the rate of the explored model.
function rated(cost: Cost, mechanism: Mechanism): Point[] {
  const rate = rateOf(cost, mechanism.id) ?? rateOf(cost, "this");
  return rate ? given(cost, mechanism.flops).map(([size, n]): Point => [size, n / rate]) : [];
}

// Operations a millisecond. What a measured size between two given ones takes lies on the line that
// joins them on logarithmic axes.
export function rateOf(cost: Cost, id: string): number | null {
  const operations = given(cost, cost.mechanisms.find((mechanism) => mechanism.id === id)?.flops ?? []);
  if (operations.length < 2) return null;
  const rates = cost.measured.filter((point) => point.id === id).map(({ size, ms }) => between(operations, size) / ms).sort((a, b) => a - b);
  return rates[Math.floor(rates.length / 2)] ?? null;
}

function between(points: Point[], size: number): number {
  const after = Math.min(points.length - 1, Math.max(1, points.findIndex(([n]) => n >= size)));
  const [a, b] = [points[after - 1], points[after]];
  return a[1] * (size / a[0]) ** (Math.log(b[1] / a[1]) / Math.log(b[0] / a[0]));
}

// The given size that lies nearest to the one wished for, by ratio.
export function nearest(sizes: number[], wish: number): number {
  return sizes.reduce((best, n) => (Math.abs(Math.log(n / wish)) < Math.abs(Math.log(best / wish)) ? n : best), sizes[0] ?? wish);
}

// What a mechanism needs at a size, and what doubling height and width does to it around there.
export function reading(points: Point[], size: number): { value: number | null; doubling: number | null } {
  const at = points.findIndex(([n]) => n === size);
  if (at < 0) return { value: null, doubling: null };
  const [a, b] = at + 1 < points.length ? [points[at], points[at + 1]] : [points[at - 1], points[at]];
  if (!a || !b) return { value: points[at][1], doubling: null };
  return { value: points[at][1], doubling: 2 ** (Math.log(b[1] / a[1]) / Math.log(b[0] / a[0])) };
}
