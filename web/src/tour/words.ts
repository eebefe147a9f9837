// How the tour and the cost lab say numbers that are only roughly of interest.
import { count } from "../words";

// A factor as one says it: 4 and not 4.003, 1.5 and not 1.4981.
export const factor = (n: number): string => (n >= 9.95 ? count(Math.round(n)) : String(Number(n.toFixed(1))));

// A large number in words: 3.2 million.
export function large(n: number): string {
  const steps: [number, string][] = [[1e12, "trillion"], [1e9, "billion"], [1e6, "million"]];
  const found = steps.find(([limit]) => n >= limit);
  return found ? `${Number((n / found[0]).toPrecision(3))} ${found[1]}` : count(Math.round(n));
}
