// Asks a real Prometheus every expression of every panel, variable and alert; fails on an empty answer.
//   node hack/check/data.mjs http://127.0.0.1:9095
import { readFileSync, readdirSync } from "node:fs";
import { fill, panelQueries, selectorsOf, whole } from "../dashboards/query.mjs";

const PROMETHEUS = process.argv[2];
const CHART = new URL("../../charts/parley/files/", import.meta.url);

// Series of a failure that the end-to-end run need not bring about (it may: a slow machine fails a
// reconcile or two at the start). An alert on one of them must still ask for a metric that the sources
// declare (hack/check/charts.sh) and fire when it should (hack/check/alerts-test.yaml).
const QUIET = {
  parley_reconcile_errors_total: "no reconcile fails",
  'parley_scale_suppressed_total{reason="LagUnknown"}': "the offsets can be read",
  'parley_sse_closed_total{reason="slow"}': "no browser falls behind",
  parley_request_timeouts_total: "every held call gets its reply",
  parley_replays_total: "no record comes again, unless a worker is replaced at the right moment",
};

const ask = async (path, params) => {
  const response = await fetch(`${PROMETHEUS}/api/v1/${path}?${new URLSearchParams(params)}`);
  const answer = await response.json();
  if (answer.status !== "success") throw new Error(`${params.query ?? path}: ${answer.error}`);
  return answer.data;
};

const problems = [];
const end = Date.now() / 1000;
const range = { start: end - 4 * 3600, end, step: 5 };
// Whether an expression had a finite value at any moment of the last four hours.
const hasData = async (query) => {
  const { result } = await ask("query_range", { query, ...range, step: "15" });
  return result.some(({ values }) => values.some(([, value]) => Number.isFinite(Number(value))));
};

// Whether a selector is for one of the quiet series, or for a part of it.
const quietOf = (selector) =>
  Object.keys(QUIET).find((quiet) => {
    const [name, labels = ""] = quiet.split(/[{}]/);
    return selector.split("{")[0].replace(/_(bucket|sum|count)$/, "") === name && selector.includes(labels);
  });
// Why an expression is empty, unless quiet series account for it: these have no data at all, and everything else in it has.
const unexplained = async (query) => {
  const quiet = new Set();
  for (const selector of selectorsOf(query)) {
    const of = quietOf(selector);
    if (of) quiet.add(of);
    else if (!(await hasData(selector))) return `no data for ${selector}`;
  }
  if (quiet.size === 0) return "each of its series has data, and it has none";
  for (const selector of quiet) if (!(await hasData(selector))) return null;
  return `${[...quiet].join(" and ")} have data, and it has none`;
};

let excused = 0;
let panels = 0;
let variables = 0;
for (const file of readdirSync(new URL("dashboards/", CHART))) {
  const dashboard = JSON.parse(readFileSync(new URL(`dashboards/${file}`, CHART), "utf8"));
  for (const { title, expr } of panelQueries(dashboard)) {
    panels += 1;
    // What stands in for nothing proves nothing.
    const query = fill(expr).replace(/ or vector\(0\)/g, "");
    if (await hasData(query)) continue;
    excused += 1;
    const why = await unexplained(query);
    if (why) problems.push(`${file}, panel "${title}" is empty, ${why}: ${query}`);
  }
  for (const variable of dashboard.templating.list.filter((v) => v.type === "query")) {
    variables += 1;
    const [, of, label] = /^label_values\((.*), (\w+)\)$/.exec(variable.query.query);
    const series = await ask("series", { "match[]": fill(of), start: range.start, end });
    const regex = new RegExp((variable.regex || "/.*/").slice(1, -1));
    if (!series.some((labels) => labels[label] && regex.test(labels[label])))
      problems.push(`${file}: variable ${variable.name} has no value`);
  }
}

const { groups } = await ask("rules", {});
const rules = groups.flatMap((group) => group.rules);
for (const { name, query, health, lastError } of rules) {
  if (health !== "ok") problems.push(`alert ${name} is ${health}: ${lastError}`);
  const asked = whole(query);
  if (await hasData(asked)) continue;
  excused += 1;
  const why = await unexplained(asked);
  if (why) problems.push(`alert ${name} could not fire, ${why}: ${asked}`);
}
if (rules.length < 13) problems.push(`Prometheus knows only ${rules.length} rules`);

if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log(
  `${panels} expressions of panels, ${variables} variables, ${rules.length} alerts asked whole: all have data but ${excused}, whose series are quiet: ${Object.values(QUIET).join("; ")}`,
);
