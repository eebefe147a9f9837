// Shares as a list of bars; the first is the answer.
import type { JSX } from "preact";
import { share } from "../words";

export interface Bar { label: string; value: number; id?: number }
interface Props { bars: readonly Bar[]; chosen?: number; onChoose?(id: number): void; label: string }

export function Bars({ bars, chosen, onChoose, label }: Props): JSX.Element {
  return (
    <ol class="bars" aria-label={label}>
      {bars.map(({ label: words, value, id }) => (
        <li key={words} class={id !== undefined && id === chosen ? "chosen" : ""}>
          {onChoose && id !== undefined
            ? <button type="button" class="name" data-class={id} aria-pressed={id === chosen} onClick={() => onChoose(id)}>{words}</button>
            : <span class="name">{words}</span>}
          <span class="bar-back" aria-hidden="true"><span class="bar-fill" style={{ width: `${100 * Math.max(0, Math.min(1, value))}%` }} /></span>
          <span class="number">{share(value)}</span>
        </li>
      ))}
    </ol>
  );
}
