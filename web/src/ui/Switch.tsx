// A row of buttons of which one is chosen.
import type { ComponentChildren, JSX } from "preact";

export interface Choice<T extends string> { id: T; label: ComponentChildren; title?: string; disabled?: boolean }

interface Props<T extends string> {
  label: string;
  choices: readonly Choice<T>[];
  value: T;
  onChange(value: T): void;
}

export function Switch<T extends string>({ label, choices, value, onChange }: Props<T>): JSX.Element {
  return (
    <div class="switch" role="group" aria-label={label}>
      {choices.map(({ id, label: words, title, disabled }) => (
        <button type="button" key={id} data-choice={id} title={title} disabled={disabled} aria-pressed={id === value}
          onClick={() => onChange(id)}>{words}</button>
      ))}
    </div>
  );
}
