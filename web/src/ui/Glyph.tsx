// The small sign of a block's pattern; of two kinds that take turns, each has a colour.
import type { JSX } from "preact";
import type { Block } from "../rows";

export const tone = (block: Pick<Block, "second">) => (block.second ? "sw" : "w");

export function Glyph({ block }: { block: Pick<Block, "second" | "glyph"> }): JSX.Element {
  return <svg class={`glyph ${tone(block)}`} viewBox="0 0 16 16" aria-hidden="true"><path d={block.glyph} /></svg>;
}
