// Canvas 2D: heat maps with one pixel a cell, enlarged without blur, and lines that show on any picture.
import type { Box } from "../grid";
import type { Map2d } from "../rows";
import { table, type Rgb } from "./colour";
import { HATCH } from "./hatch";

// Size a canvas for the screen's pixels and return its pen, in CSS pixels.
export function pen(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  context.setTransform(w / width, 0, 0, h / height, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

export interface HeatOptions {
  low?: number; // the number of the darkest colour; default 0, or the smallest where some are negative
  high?: number; // of the lightest; default the greatest
  stops?: Rgb[];
  alpha?: number;
  hidden?: (cell: number) => boolean; // left transparent: hatch them with `hatchCells`
}

export const greatest = (numbers: ArrayLike<number>) => {
  let most = -Infinity;
  for (let i = 0; i < numbers.length; i++) if (numbers[i] > most) most = numbers[i];
  return most;
};
export const least = (numbers: ArrayLike<number>) => {
  let fewest = Infinity;
  for (let i = 0; i < numbers.length; i++) if (numbers[i] < fewest) fewest = numbers[i];
  return fewest;
};

// A map as pixels, one a cell.
export function heatPixels(map: Map2d, options: HeatOptions = {}): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  paintPixels(canvas, map, options);
  return canvas;
}

// Paint a map into a canvas of one pixel a cell; style it with `image-rendering: pixelated`.
export function paintPixels(canvas: HTMLCanvasElement, { height, width, values }: Map2d, options: HeatOptions = {}): void {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  const pixels = context.createImageData(width, height);
  const low = options.low ?? Math.min(0, least(values));
  const high = options.high ?? greatest(values);
  const [colours, span, alpha] = [table(options.stops), high > low ? 255 / (high - low) : 0, 255 * (options.alpha ?? 1)];
  for (let cell = 0; cell < values.length; cell++) {
    if (options.hidden?.(cell) || Number.isNaN(values[cell])) continue;
    const at = 4 * Math.min(255, Math.max(0, Math.round((values[cell] - low) * span)));
    pixels.data[4 * cell] = colours[at];
    pixels.data[4 * cell + 1] = colours[at + 1];
    pixels.data[4 * cell + 2] = colours[at + 2];
    pixels.data[4 * cell + 3] = alpha;
  }
  context.putImageData(pixels, 0, 0);
}

// Draw a map over a rectangle of a larger canvas, every cell a sharp rectangle.
export function drawHeat(context: CanvasRenderingContext2D, map: Map2d, [x, y, w, h]: [number, number, number, number],
  options: HeatOptions = {}): void {
  context.save();
  context.imageSmoothingEnabled = false;
  context.drawImage(heatPixels(map, options), x, y, w, h);
  context.restore();
}

// Hatch what may not be seen, in a picture of `map`'s cells over a rectangle.
export function hatchCells(context: CanvasRenderingContext2D, { height, width }: Pick<Map2d, "height" | "width">,
  [x, y, w, h]: [number, number, number, number], hidden: (cell: number) => boolean): void {
  context.save();
  context.fillStyle = context.createPattern(HATCH(), "repeat") as CanvasPattern;
  for (let cell = 0; cell < height * width; cell++) {
    if (!hidden(cell)) continue;
    context.fillRect(x + (cell % width) * w / width, y + Math.floor(cell / width) * h / height, w / width, h / height);
  }
  context.restore();
}

// A line that shows on light and on dark: `ink` over a dark halo. Edges in cells of `unit` [height, width].
export function strokeEdges(context: CanvasRenderingContext2D, edges: readonly Box[], unit: readonly number[], ink: string, width: number,
  dash: number[] = [], halo = 2): void {
  context.beginPath();
  for (const [y0, x0, y1, x1] of edges) {
    context.moveTo(x0 * unit[1], y0 * unit[0]);
    context.lineTo(x1 * unit[1], y1 * unit[0]);
  }
  context.lineCap = dash.length ? "butt" : "square";
  context.setLineDash([]);
  context.strokeStyle = "rgb(0 0 0 / .55)";
  context.lineWidth = width + halo;
  if (halo) context.stroke();
  context.setLineDash(dash);
  context.strokeStyle = ink;
  context.lineWidth = width;
  context.stroke();
  context.setLineDash([]);
}

export const outline = (y: number, x: number, h = 1, w = 1): Box[] =>
  [[y, x, y, x + w], [y, x + w, y + h, x + w], [y + h, x + w, y + h, x], [y + h, x, y, x]];
