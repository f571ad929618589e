const hues = 8;

/** The first letter of a name on a ground that is the same for the same id wherever it stands. */
export function Avatar({ id, name, small }: { id: string; name: string; small?: boolean }) {
  let sum = 0;
  for (const char of id) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 65_521;
  const [first = "?"] = name.trim();
  return (
    <span class={`avatar hue-${sum % hues}${small === true ? " small" : ""}`} aria-hidden="true">
      {first.toUpperCase()}
    </span>
  );
}
