// Colours of numbers. Viridis (CC0, by van der Walt, Smith and Firing) for weights and cividis (CC0,
// by Nunez, Anderton and Renslow) for biases, ten colours of each, between which the page
// interpolates: lightness rises with the number, for every kind of colour vision.

export type Rgb = [number, number, number];

export const WEIGHT: Rgb[] = [
  [68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142],
  [31, 158, 137], [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37],
];
export const BIAS: Rgb[] = [
  [0, 32, 77], [0, 50, 110], [50, 69, 108], [80, 87, 108], [104, 106, 112],
  [128, 126, 120], [154, 146, 118], [182, 168, 109], [213, 191, 92], [255, 234, 70],
];

// A table of 256 colours, so that a heat map needs no arithmetic for each pixel.
const tables = new Map<Rgb[], Uint8ClampedArray>();
export function table(stops: Rgb[] = WEIGHT): Uint8ClampedArray {
  const known = tables.get(stops);
  if (known) return known;
  const made = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i++) made.set([...colour(i / 255, stops), 255], 4 * i);
  tables.set(stops, made);
  return made;
}

// The colour of a share between 0 and 1.
export function colour(share: number, stops: Rgb[] = WEIGHT): Rgb {
  const place = Math.min(1, Math.max(0, share || 0)) * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(place));
  return stops[low].map((from, i) => Math.round(from + (stops[low + 1][i] - from) * (place - low))) as Rgb;
}

export const css = ([r, g, b]: Rgb, alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;
// Black or white, whichever reads better on the colour.
export const inkOn = ([r, g, b]: Rgb) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff");
export const MARK = "#ffd84a"; // the query
