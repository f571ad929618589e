// The table of recovery times in docs/reliability.md, from what a run of `make chaos` wrote:
//   node hack/recovery.mjs RECOVERY.json [PAGE]
// Everything between the marks is made here and typed by nobody; without a run the page says so.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [run, page = join(new URL("..", import.meta.url).pathname, "docs/reliability.md")] = process.argv.slice(2);
if (!run) {
  console.error("usage: recovery.mjs RECOVERY.json [PAGE]");
  process.exit(2);
}

const [BEGIN, END] = ["<!-- made by hack/recovery.mjs: begin -->", "<!-- end -->"];
const times = (t) => (t ? `${t.median.toFixed(1)} (${t.longest.toFixed(1)})` : "–");

const table = ({ seed, faults, cores, classes }) => [
  `${faults} faults of seed ${seed}, one after another, on ${cores} cores. Seconds: the median, and the longest in brackets.`,
  "",
  "| fault | times | took hold | lasted | recovered after |",
  "|---|---|---|---|---|",
  ...classes.map((c) => `| ${c.fault} | ${c.times} | ${c.held} | ${times(c.lasted)} | ${times(c.recovered)} |`),
];
const none = ["No table stands here yet: it is taken on a machine that does nothing else."];

const text = readFileSync(page, "utf8");
const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
if (from < 0 || to < from) {
  console.error(`${page} lacks the marks ${BEGIN} and ${END}`);
  process.exit(1);
}
const lines = existsSync(run) ? table(JSON.parse(readFileSync(run, "utf8"))) : none;
writeFileSync(page, `${text.slice(0, from + BEGIN.length)}\n${lines.join("\n")}\n${text.slice(to)}`);
