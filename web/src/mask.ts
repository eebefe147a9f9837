// The class of every pixel: what a model of segmentation gives.
import type { TraceView } from "./trace";

export interface Mask { height: number; width: number; labels: Uint8Array; certainty: Uint8Array }

export async function loadMask(trace: TraceView): Promise<Mask> {
  const { mask, certainty } = trace.manifest.outcome;
  const [labels, sure] = await Promise.all([trace.array(mask as string), trace.array(certainty as string)]);
  const [height, width] = labels.shape;
  return { height, width, labels: labels.data as Uint8Array, certainty: sure.data as Uint8Array };
}

export function classAt(trace: TraceView, mask: Mask, [y, x]: readonly [number, number]): { cls: number; label: string; certainty: number } {
  const cell = y * mask.width + x;
  const cls = mask.labels[cell];
  return { cls, label: trace.manifest.outcome.classes[cls]?.label ?? `class ${cls}`, certainty: mask.certainty[cell] / 255 };
}

type Rgb = [number, number, number];

export const colours = (trace: TraceView): Rgb[] =>
  trace.manifest.outcome.classes.map(({ colour }) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) as Rgb);

// A pixel a cell; the background stays clear.
export function pixelsOf({ height, width, labels }: Mask, table: Rgb[], background: boolean): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
  const pixels = pen.createImageData(width, height);
  labels.forEach((cls, cell) => { if (cls > 0 || !background) pixels.data.set([...table[cls], 255], 4 * cell); });
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

// The class that covers most, the background aside: what is worth a look first.
export function mostOf({ manifest: { outcome: { classes, background } } }: TraceView): number {
  const things = classes.filter(({ class: id, share }) => share > 0 && (id > 0 || !background));
  return things.reduce((best, row) => (row.share > best.share ? row : best), things[0] ?? { class: 0, share: 0 }).class;
}
