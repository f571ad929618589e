// Medians, spreads, and how numbers are written.

export const numbers = (values) => values.filter((v) => Number.isFinite(v)).sort((a, b) => a - b);

// Of sorted numbers; of an even count the lower middle one, so that it is always a figure that was measured.
export const median = (sorted) => sorted[Math.floor((sorted.length - 1) / 2)];

export const write = (value, digits = 0) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

// As many digits as a figure of its size deserves.
export const digitsFor = (value) => (Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);

// "25,100 (24,300–26,000)", or nothing where nothing was measured.
export const spread = (values, unit = "") => {
  const sorted = numbers(values);
  if (sorted.length === 0) return undefined;
  const digits = digitsFor(median(sorted));
  const of = (v) => write(v, digits);
  const more = sorted.length > 1 ? ` (${of(sorted[0])}–${of(sorted.at(-1))})` : "";
  return `${of(median(sorted))}${unit}${more}`;
};

export const NONE = "not measured yet";
// The same, said where nothing was measured.
export const figure = (values) => spread(values) ?? NONE;

// One figure of each run that has it.
export const of = (runs, pick) => numbers(runs.map(pick));

export const middle = (values) => median(numbers(values));

export const table = (head, rows) => [`| ${head.join(" | ")} |`, `|${head.map(() => "---").join("|")}|`, ...rows.map((row) => `| ${row.join(" | ")} |`)].join("\n");
