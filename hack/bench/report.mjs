// Writes the tables and the picture of docs/benchmarks.md from the reports of hack/bench/*.sh: no figure is typed by hand.
//   node hack/bench/report.mjs FOLDER [PAGE]
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gateway } from "./report/gateway.mjs";
import { curves } from "./report/picture.mjs";
import { median, numbers } from "./report/statistics.mjs";
import { summary } from "./report/summary.mjs";
import { worker } from "./report/worker.mjs";

const [FOLDER, PAGE = fileURLToPath(new URL("../../docs/benchmarks.md", import.meta.url))] = process.argv.slice(2);
if (!FOLDER || !existsSync(FOLDER)) throw new Error("usage: report.mjs FOLDER [PAGE], the folder of the reports");

// A report that was cut short (its scenario failed) is none.
const read = (file) => {
  try {
    return JSON.parse(readFileSync(join(FOLDER, file), "utf8"));
  } catch {
    console.error(`${file} holds no report and is left out`);
    return undefined;
  }
};
const files = readdirSync(FOLDER).filter((file) => file.endsWith(".json")).sort();
const results = {
  // Commit, machine and versions of a part.
  where: (part) => {
    const m = results.one(`machine-${part}`);
    return m ? `Measured at ${m.commit} on ${m.cores} cores (${m.cpu}), ${m.memory}, Linux ${m.kernel}; PostgreSQL ${m.postgres} with its defaults, Kafka ${m.kafka} on Java ${m.java}, rustc ${m.rustc}. Load of the machine before: ${m.load}.` : "";
  },
  // The reports NAME-1.json, NAME-2.json …
  runs: (name) => files.filter((file) => new RegExp(`^${name}-[0-9]+\\.json$`).test(file)).map((file) => [Number(/(\d+)\.json$/.exec(file)[1]), read(file)]).filter(([, run]) => run).sort(([a], [b]) => a - b).map(([, run]) => run),
  one: (name) => (files.includes(`${name}.json`) ? read(`${name}.json`) : undefined),
  controller: existsSync(join(FOLDER, "controller.md")) ? readFileSync(join(FOLDER, "controller.md"), "utf8") : "",
};

// Between <!-- bench:NAME --> and <!-- /bench:NAME -->; `text` makes it of what stands there.
const put = (page, name, text) => {
  const [open, close] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`];
  const [from, to] = [page.indexOf(open), page.indexOf(close)];
  if (from < 0 || to < from) throw new Error(`${PAGE} has no place ${open} … ${close}`);
  return `${page.slice(0, from)}${open}\n${text(page.slice(from + open.length, to).trim())}\n${page.slice(to)}`;
};
// A part of which nothing was measured keeps its figures, and their commit.
const part = (page, name, measured, text) => put(page, name, (before) => (measured ? [results.where(name), "", text(results)].join("\n").trim() : before));
const some = (begin) => files.some((file) => file.startsWith(begin));

let page = readFileSync(PAGE, "utf8");
page = put(page, "summary", (before) => summary(results, before));
page = part(page, "worker", some("worker-"), worker);
page = part(page, "gateway", some("gateway-"), gateway);
page = part(page, "controller", results.controller !== "", () => results.controller.trim());
writeFileSync(PAGE, page);

const lines = [
  ["1,000 a second: reply", "worker-steady", "replyMs"],
  ["1,000 a second: event", "worker-steady", "eventMs"],
  ["12,500 a second: reply", "worker-half", "replyMs"],
  ["12,500 a second: event", "worker-half", "eventMs"],
].map(([name, part, field]) => {
  const all = results.runs(part).map((run) => run[field].curve);
  return { name, points: (all[0] ?? []).map(([percent], i) => [percent, median(numbers(all.map((curve) => curve[i][1])))]) };
}).filter(({ points }) => points.length > 0);
if (lines.length > 0) {
  const file = join(dirname(PAGE), "benchmarks", "latency.svg");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, curves(lines));
}
