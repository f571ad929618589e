// Asks a real Prometheus every expression of every panel, variable and alert; fails on an empty answer.
//   node hack/check/data.mjs http://127.0.0.1:9095
import { readFileSync, readdirSync } from "node:fs";
import { fill, panelQueries } from "../dashboards/query.mjs";

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
const range = { start: end - 3600, end, step: 5 };
// Whether an expression had a finite value at any moment of the last hour.
const hasData = async (query) => {
  const { result } = await ask("query_range", { query, ...range, step: "15" });
  return result.some(({ values }) => values.some(([, value]) => Number.isFinite(Number(value))));
};

let panels = 0;
let variables = 0;
for (const file of readdirSync(new URL("dashboards/", CHART))) {
  const dashboard = JSON.parse(readFileSync(new URL(`dashboards/${file}`, CHART), "utf8"));
  for (const { title, expr } of panelQueries(dashboard)) {
    panels += 1;
    // What stands in for nothing proves nothing.
    const query = fill(expr).replace(/ or vector\(0\)/g, "");
    if (!(await hasData(query))) {
      const selectors = query.match(/parley_\w+/g) ?? [];
      if (!selectors.some((name) => QUIET[name])) problems.push(`${file}, panel "${title}" is empty: ${query}`);
    }
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
let selectors = 0;
for (const { name, query, health, lastError } of rules) {
  if (health !== "ok") problems.push(`alert ${name} is ${health}: ${lastError}`);
  for (const selector of new Set(query.match(/parley_\w+(\{[^}]*\})?/g))) {
    selectors += 1;
    if (!QUIET[selector] && !(await hasData(selector))) problems.push(`alert ${name}: no data for ${selector}`);
  }
}
if (rules.length < 13) problems.push(`Prometheus knows only ${rules.length} rules`);

if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log(`${panels} expressions of panels, ${variables} variables, ${selectors} selectors of ${rules.length} alerts: all have data`);
