import type { InputHTMLAttributes } from "preact";
import { useId } from "preact/hooks";

interface Props {
  label: string;
  value: string;
  onValue: (value: string) => void;
  hint?: string | undefined;
  fault?: string | undefined;
  testId: string;
  input?: InputHTMLAttributes;
}

/** A labelled text input with its hint and what is wrong with it. */
export function Field({ label, value, onValue, hint, fault, testId, input }: Props) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        {...input}
        id={id}
        data-testid={testId}
        value={value}
        aria-invalid={fault !== undefined}
        {...(fault === undefined && hint === undefined ? {} : { "aria-describedby": `${id}-more` })}
        onInput={(event) => onValue(event.currentTarget.value)}
      />
      {(fault ?? hint) !== undefined && (
        <p id={`${id}-more`} class={fault === undefined ? "hint" : "fault"}>
          {fault ?? hint}
        </p>
      )}
    </div>
  );
}
