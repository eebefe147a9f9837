// How much of the picture is enlarged, and which token lies under a point of it.
import type { Grid, Pair } from "./grid";

// `origin` is the picture's top left corner that can be seen, as shares of its height and width.
export interface Zoom { factor: number; origin: Pair }
export const WHOLE: Zoom = { factor: 1, origin: [0, 0] };

export interface Fit { width: number; height: number; unit: Pair }

const clamp = (n: number, low: number, high: number): number => Math.min(high, Math.max(low, n));

// The size on the page of the padded picture, and of one of its tokens, not enlarged.
export function fit(grid: Grid, stride: readonly number[], width: number, highest: number): Fit {
  const [high, wide] = grid.padded.map((n, axis) => n * stride[axis]);
  const scale = Math.max(0.01, Math.min(width / wide, highest / high));
  return { width: wide * scale, height: high * scale, unit: [stride[0] * scale, stride[1] * scale] };
}

// Enlarge so far that a token can be pointed at with a finger.
export const mostZoom = ({ unit }: Fit): number => Math.max(4, Math.ceil(44 / Math.min(...unit)));

// Enlarge around a point, given as shares of what can be seen.
export function zoomAt(zoom: Zoom, factor: number, most: number, at: Pair = [0.5, 0.5]): Zoom {
  const next = clamp(factor, 1, most);
  const origin = zoom.origin.map((from, axis) => from + at[axis] / zoom.factor - at[axis] / next) as Pair;
  return held({ factor: next, origin });
}

// Move by shares of what can be seen.
export function pan(zoom: Zoom, [down, right]: Pair): Zoom {
  return held({ ...zoom, origin: [zoom.origin[0] + down / zoom.factor, zoom.origin[1] + right / zoom.factor] });
}

function held({ factor, origin }: Zoom): Zoom {
  const limit = 1 - 1 / factor;
  return { factor, origin: [clamp(origin[0], 0, limit), clamp(origin[1], 0, limit)] };
}

// Move just so far that a place (row and column on the padded grid, as it is drawn) can be seen.
export function reveal(zoom: Zoom, grid: Grid, place: Pair): Zoom {
  const seen = 1 / zoom.factor;
  const origin = zoom.origin.map((from, axis) => {
    const [low, high] = [place[axis] / grid.padded[axis], (place[axis] + 1) / grid.padded[axis]];
    return low < from ? low : high > from + seen ? high - seen : from;
  }) as Pair;
  return held({ ...zoom, origin });
}

// The cell of the padded grid under a point, given as shares of what can be seen. `roll` is the share
// of the shift by which the picture is rolled.
export function cellAt(grid: Grid, zoom: Zoom, roll: number, at: Pair): Pair {
  return at.map((p, axis) => {
    const n = grid.padded[axis];
    const place = (zoom.origin[axis] + p / zoom.factor) * n + roll * grid.shift[axis];
    return Math.floor(((place % n) + n) % n);
  }) as Pair;
}

// Where a cell is drawn, as a cell: rolled or not.
export function drawnAt(grid: Grid, [y, x]: Pair, roll: number): Pair {
  const by = grid.shift.map((n) => Math.round(roll * n));
  return [(y - by[0] + grid.padded[0]) % grid.padded[0], (x - by[1] + grid.padded[1]) % grid.padded[1]];
}
