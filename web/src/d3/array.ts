// What d3-scale needs of d3-array: where ticks stand. Scales here have two ends.

// 1, 2 or 5 times a power of ten, so that about `count` steps lie between two ends. Below one its
// inverse, negative: dividing by a whole number keeps 0.3 from becoming 0.30000000000000004.
export function tickIncrement(start: number, stop: number, count: number): number {
  const rough = (stop - start) / count;
  const power = Math.floor(Math.log10(rough));
  const over = rough / 10 ** power;
  const factor = over >= Math.sqrt(50) ? 10 : over >= Math.sqrt(10) ? 5 : over >= Math.sqrt(2) ? 2 : 1;
  return power < 0 ? -(10 ** -power) / factor : factor * 10 ** power;
}

export function ticks(start: number, stop: number, count: number): number[] {
  if (!(count > 0)) return [];
  if (start === stop) return [start];
  if (stop < start) return ticks(stop, start, count).reverse();
  const step = tickIncrement(start, stop, count);
  const place = (n: number): number => (step < 0 ? n / -step : n * step);
  const nth = (n: number): number => (step < 0 ? n * -step : n / step);
  const [first, last] = [Math.ceil(nth(start) - 1e-9), Math.floor(nth(stop) + 1e-9)];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => place(first + i));
}

function unused(): never { throw new Error("scales here have two ends, and words of their own for ticks"); }

export { unused as bisect, unused as tickStep };
