// Numbers and places in words, the same everywhere.
import type { Grid } from "./grid";
import type { Block } from "./rows";

export const times = (numbers: readonly number[]) => numbers.join("\u00a0×\u00a0");
export const count = (n: number) => n.toLocaleString("en");
export const share = (p: number) => `${(100 * p).toFixed(p < 0.0995 ? 2 : 1)}\u00a0%`;
export const plural = (n: number, word: string) => `${count(n)} ${word}${n === 1 ? "" : word.endsWith("s") ? "es" : "s"}`;
export const capital = (text: string) => (text ? text[0].toUpperCase() + text.slice(1) : text);
// A block with several attentions names them: stages.0.blocks.1.grid is the block's grid.
export const blockName = ({ name, stage, block }: Block) => `stage ${stage + 1}, block ${block + 1}${name.split(".").slice(4).map((part) => `, ${part}`).join("")}`;
export const tokensOf = (block: Block) => block.spatial[0] * block.spatial[1];

// A number with three figures that count: 0.00123, 12.3, 1.23e-7.
export function brief(n: number): string {
  if (n === 0 || !Number.isFinite(n)) return String(n);
  const size = Math.abs(n);
  if (size < 1e-3 || size >= 1e6) return n.toExponential(1);
  return Number.isInteger(n) ? count(n) : n.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
}
// With the usual prefixes: 4.5 G, 12.3 M.
export function scaled(n: number, unit = ""): string {
  const step = n > 0 ? Math.min(4, Math.max(0, Math.floor(Math.log10(n) / 3))) : 0;
  const part = n / 1000 ** step;
  const text = step === 0 && Number.isInteger(n) ? String(n) : part.toPrecision(3);
  return `${text}\u00a0${["", "k", "M", "G", "T"][step]}${unit}`.trim();
}

export function tokenWords(block: Block, token: number): string {
  if (token < 0) return "padding";
  if (token < block.prefix) return `prefix token ${token + 1}`;
  const at = token - block.prefix;
  return `row ${Math.floor(at / block.spatial[1]) + 1}, column ${at % block.spatial[1] + 1}`;
}

// A key in words; `other` is its place in the grid's `keys`.
export function keyWords(block: Block, grid: Grid, other: number): string {
  const token = grid.keys[other];
  const box = token >= grid.total ? grid.box(Math.floor(other / grid.keysPerGroup), other % grid.keysPerGroup) : null;
  if (!box) return tokenWords(block, token);
  const [y0, x0, y1, x1] = box;
  const span = (from: number, to: number) => (to - from > 1 ? `s ${from + 1}–${to}` : ` ${to}`);
  return `row${span(y0, y1)}, column${span(x0, x1)}, pooled`;
}

export const standing = (grid: Grid, slot: number, other: number) =>
  (!grid.sees(slot, Math.floor(other / grid.keysPerGroup), other % grid.keysPerGroup) ? "masked" : grid.keys[other] < 0 ? "padding" : "seen");
