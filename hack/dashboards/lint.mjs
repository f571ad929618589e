// The rules of Grafana's dashboard linter that can be judged from a dashboard alone, and its exceptions.
//   node hack/dashboards/lint.mjs FILE.json...
// Each rule takes a dashboard and gives what is wrong. The names are the linter's own.
import { readFileSync } from "node:fs";

const all = (dashboard, kind) => dashboard.templating.list.filter((v) => v.type === kind);
const named = (dashboard, name) => dashboard.templating.list.find((v) => v.name === name);
const drawn = (dashboard) => dashboard.panels.filter((panel) => panel.type !== "row");
const targets = (dashboard) => drawn(dashboard).flatMap((panel) => panel.targets.map(({ expr }) => ({ panel, expr })));

// These speak of what several programs export: the job is not the dashboard's own.
const ANY_JOB = new Set(["Lag"]);

const choice = (name, label) => (d) => {
  const v = named(d, name);
  if (!v) return [`there is no variable ${name}`];
  return [
    v.type !== "query" && `${name} is not a query`,
    v.label !== label && `${name} is not labelled ${label}`,
    v.datasource?.uid !== "${datasource}" && `${name} does not ask $datasource`,
    !v.multi && `${name} takes one value only`,
    !v.includeAll && `${name} has no All`,
    v.allValue !== ".+" && `All of ${name} is not .+`,
  ];
};

// Every selector of a metric, with what stands between its braces.
const selectors = (expr) => [...expr.matchAll(/\b((?:parley|process)_\w+)(\{[^}]*\})?/g)].map(([, metric, braces = ""]) => ({ metric, braces }));
const matcher = (name) => (d) =>
  targets(d).filter(({ panel }) => !ANY_JOB.has(panel.title)).flatMap(({ panel, expr }) =>
    selectors(expr).filter(({ braces }) => !braces.includes(`${name}=~"$${name}"`)).map(({ metric }) => `"${panel.title}": ${metric} without ${name}`));

const RULES = {
  "template-datasource-rule": (d) => {
    const [v, ...more] = all(d, "datasource");
    return [(!v || more.length > 0 || v.name !== "datasource" || v.query !== "prometheus" || v.label !== "Data source") && "there must be one variable datasource, labelled Data source"];
  },
  "template-job-rule": choice("job", "Job"),
  "template-instance-rule": choice("instance", "Instance"),
  "template-on-time-change-reload-rule": (d) => all(d, "query").map((v) => v.refresh !== 2 && `${v.name} does not reload when the time range changes`),
  "panel-datasource-rule": (d) => drawn(d).map((p) => p.datasource?.uid !== "${datasource}" && `"${p.title}" does not use $datasource`),
  "panel-title-description-rule": (d) => drawn(d).map((p) => (!p.title || !p.description) && `panel ${p.id} "${p.title}" lacks title or description`),
  "panel-units-rule": (d) => drawn(d).map((p) => !p.fieldConfig.defaults.unit && `"${p.title}" has no unit`),
  "panel-no-targets-rule": (d) => drawn(d).map((p) => p.targets.length === 0 && `"${p.title}" asks nothing`),
  "target-job-rule": matcher("job"),
  "target-instance-rule": matcher("instance"),
  "target-rate-interval-rule": (d) =>
    targets(d).map(({ panel, expr }) => /\[(?!\$__rate_interval\])/.test(expr) && `"${panel.title}" has a range other than $__rate_interval`),
  "target-counter-agg-rule": (d) =>
    targets(d).flatMap(({ panel, expr }) =>
      [...expr.matchAll(/(\w*)\(\s*parley_\w+_total\b/g)].map(([, f]) => !["rate", "increase", "irate"].includes(f) && `"${panel.title}" takes a counter as it is`)),
  "uneditable-dashboard": (d) => [d.editable !== false && "it can be edited: what is provisioned would be lost"],
  "unique-ids": (d) => [new Set(d.panels.map((p) => p.id)).size !== d.panels.length && "two panels have one id"],
};

export const lint = (dashboard) =>
  Object.entries(RULES).flatMap(([rule, judge]) => judge(dashboard).filter(Boolean).map((what) => `${rule}: ${what}`));

if (process.argv[1] === new URL(import.meta.url).pathname) {
  for (const file of process.argv.slice(2)) {
    const dashboard = JSON.parse(readFileSync(file, "utf8"));
    for (const what of lint(dashboard)) {
      console.error(`error: ${file}: ${what}`);
      process.exitCode = 1;
    }
    // Each rule must be able to fail: against a dashboard without anything of what it asks for.
    const bare = { panels: [{ id: 1, title: "", targets: [{ expr: "sum(parley_x_total[5m])" }], fieldConfig: { defaults: {} } }, { id: 1, title: "", targets: [], fieldConfig: { defaults: {} } }], templating: { list: [{ name: "x", type: "query" }] } };
    const found = new Set(lint(bare).map((line) => line.split(":")[0]));
    for (const rule of Object.keys(RULES)) if (!found.has(rule)) throw new Error(`${rule} finds nothing wrong with a bare dashboard`);
  }
}
