// Canvases over the whole photo.
import type { Map2d } from "../rows";

// Size a canvas for the screen's pixels and return its pen, in CSS pixels.
export function fit(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

// Darken the cells that are not lit, as sharply as the grid.
export function darken(context: CanvasRenderingContext2D, { height, width }: Pick<Map2d, "height" | "width">, lit: (cell: number) => boolean,
  area: [number, number, number, number]): void {
  const dark = document.createElement("canvas");
  [dark.width, dark.height] = [width, height];
  const pen = dark.getContext("2d") as CanvasRenderingContext2D;
  const pixels = pen.createImageData(width, height);
  for (let cell = 0; cell < height * width; cell++) if (!lit(cell)) pixels.data.set([12, 10, 18, 185], 4 * cell);
  pen.putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(dark, ...area);
}
