// A slider with its name, its value in words, and whole steps.
import type { JSX } from "preact";

interface Props {
  label: string;
  value: number;
  min: number;
  max: number;
  step?: number;
  words?: (value: number) => string;
  onInput(value: number): void;
  disabled?: boolean;
}

export function Slider({ label, value, min, max, step = 1, words, onInput, disabled }: Props): JSX.Element {
  const said = words ? words(value) : String(value);
  return (
    <label class="slider">
      <span>{label}</span>
      <input type="range" min={min} max={max} step={step} value={value} disabled={disabled} aria-valuetext={said}
        onInput={(event) => onInput(Number(event.currentTarget.value))} />
      <output>{said}</output>
    </label>
  );
}
