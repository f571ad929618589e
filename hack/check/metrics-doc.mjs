// Writes docs/metrics.md from the declarations in the sources; with --check it only says whether it is as it would be.
//   node hack/check/metrics-doc.mjs [--check]
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const ROOT = new URL("../../", import.meta.url);
const OUT = new URL("docs/metrics.md", ROOT);
const PROGRAMS = ["controller", "worker", "gateway"];
const read = (path) => readFileSync(new URL(path, ROOT), "utf8");

// `/// help` lines, perhaps a `//` comment, then `name: Type ["label", …]`, as src/process/metrics.rs defines them.
const declared = (source) => {
  const out = [];
  let help = [];
  for (const line of source.slice(source.indexOf("metrics! {")).split("\n")) {
    const doc = /^ {8}\/\/\/ (.*)/.exec(line);
    const field = /^ {8}(?:pub )?(\w+): (?:prometheus::)?(Int)?(Counter|Gauge|Histogram)(?:Vec|Table)? \[([^\]]*)\]/.exec(line);
    if (doc) help.push(doc[1]);
    if (field) {
      const labels = [...field[4].matchAll(/"(\w+)"/g)].map((m) => `\`${m[1]}\``).join(" ");
      out.push({ name: `parley_${field[1]}`, type: field[3].toLowerCase(), labels, help: help.join(" ") });
      help = [];
    }
    if (/^ {4}\}/.test(line)) break;
  }
  return out;
};

const row = ({ name, type, labels, help }) => `| \`${name}\` | ${type} | ${labels} | ${help.replaceAll("|", "\\|")} |`;
const table = (rows) => ["| metric | type | labels | what it is |", "|---|---|---|---|", ...rows.map(row)].join("\n");
const sections = PROGRAMS.map((program) => {
  const rows = declared(read(`src/${program}/metrics.rs`));
  if (rows.length < 10 || rows.some((r) => !r.help)) throw new Error(`src/${program}/metrics.rs: ${rows.length} metrics were found`);
  return `## ${program[0].toUpperCase()}${program.slice(1)}\n\n${table(rows)}`;
});

const text = `# Metrics

Every program answers \`/metrics\` on its admin port, 9090. This page is made from the sources (\`node hack/check/metrics-doc.mjs\`).
No label names a user, a room, a session or a partition; series of deleted sets go with them. A counter with labels appears with its
first event: write \`… or vector(0)\` where nothing yet must read as zero. Durations are in seconds; counters end in \`_total\`.

## Every program

${table([
  { name: "parley_build_info", type: "gauge", labels: "`version` `commit`", help: "Always 1." },
  { name: "parley_ready", type: "gauge", labels: "`dependency`", help: "What `/readyz` says of each dependency: 1 ready, 0 not." },
  ...declared(read("src/process/trace/otlp/account.rs")),
  { name: "process_*", type: "", labels: "", help: "CPU, memory, file descriptors, threads and start time, as Prometheus' client libraries name them." },
])}

${sections.join("\n\n")}
`;

if (!process.argv.includes("--check")) writeFileSync(OUT, text);
else if (!existsSync(OUT) || readFileSync(OUT, "utf8") !== text) {
  console.error("error: docs/metrics.md is stale: run node hack/check/metrics-doc.mjs");
  process.exitCode = 1;
}
