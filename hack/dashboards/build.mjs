// Writes the chart's Grafana dashboards from the descriptions beside it; with --check it only says
// whether they are as they would be written.  node hack/dashboards/build.mjs [--check]
import { readFileSync, writeFileSync } from "node:fs";
import { gateway } from "./gateway.mjs";
import { platform } from "./platform.mjs";
import { workers } from "./workers.mjs";

const OUT = new URL("../../charts/parley/files/dashboards/", import.meta.url);
const DATASOURCE = { type: "prometheus", uid: "${datasource}" };
const WIDTH = 24; // Grafana's grid

const query = (name, label, of) => ({
  name, label, type: "query", datasource: DATASOURCE, query: { query: `label_values(${of}, ${name})`, refId: name },
  definition: `label_values(${of}, ${name})`, refresh: 2, sort: 1, multi: true, includeAll: true, allValue: ".+",
  current: { selected: true, text: ["All"], value: ["$__all"] },
});

const templating = (job) => ({
  list: [
    { name: "datasource", label: "Data source", type: "datasource", query: "prometheus", current: {} },
    query("namespace", "Namespace", "parley_build_info"),
    { ...query("job", "Job", 'parley_build_info{namespace=~"$namespace"}'), regex: `/${job}/` },
    query("instance", "Instance", 'parley_build_info{namespace=~"$namespace",job=~"$job"}'),
  ],
});

const BODY = {
  timeseries: {
    fieldConfig: { custom: { drawStyle: "line", lineWidth: 1, fillOpacity: 10, showPoints: "never", spanNulls: false } },
    options: { legend: { displayMode: "table", placement: "bottom", calcs: ["lastNotNull", "max"] }, tooltip: { mode: "multi", sort: "desc" } },
  },
  stat: {
    fieldConfig: {},
    options: { colorMode: "value", graphMode: "area", reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false } },
  },
  table: { fieldConfig: {}, options: { showHeader: true, cellHeight: "sm" } },
  heatmap: {
    fieldConfig: {},
    options: { calculate: false, yAxis: { unit: "s" }, color: { mode: "scheme", scheme: "Oranges", steps: 32 }, cellGap: 1, tooltip: { mode: "single", yHistogram: true } },
  },
};

// One panel at a place of the grid.
const panel = (p, id, gridPos) => {
  const type = p.type ?? "timeseries";
  const { fieldConfig, options } = BODY[type];
  const defaults = { unit: p.unit, min: p.min ?? 0, ...fieldConfig };
  if (p.thresholds) defaults.thresholds = { mode: "absolute", steps: p.thresholds };
  return {
    id, title: p.title, description: p.description, type, datasource: DATASOURCE, gridPos,
    fieldConfig: { defaults, overrides: [] }, options,
    targets: p.queries.map(([expr, legendFormat], i) => ({
      refId: String.fromCharCode(65 + i), datasource: DATASOURCE, expr, legendFormat,
      ...(type === "table" && { format: "table", instant: true }),
      ...(type === "heatmap" && { format: "heatmap" }),
    })),
    ...(type === "table" && { transformations: [{ id: "organize", options: { excludeByName: { Time: true } } }] }),
  };
};

// Rows of panels, each as wide as its share of the grid.
const panels = (rows) => {
  const out = [];
  let y = 0;
  for (const { title, height, of } of rows) {
    out.push({ id: out.length + 1, type: "row", title, collapsed: false, gridPos: { x: 0, y, w: WIDTH, h: 1 }, panels: [] });
    y += 1;
    const w = Math.floor(WIDTH / of.length);
    for (const [i, p] of of.entries()) out.push(panel(p, out.length + 1, { x: i * w, y, w, h: height }));
    y += height;
  }
  return out;
};

const dashboard = ({ uid, title, description, job, rows }) => ({
  uid, title, description, tags: ["parley"], editable: false, graphTooltip: 1, schemaVersion: 39, version: 1, refresh: "30s",
  time: { from: "now-1h", to: "now" }, timezone: "browser", annotations: { list: [] },
  links: [{ title: "Parley", type: "dashboards", tags: ["parley"], asDropdown: true, includeVars: true, keepTime: true }],
  templating: templating(job), panels: panels(rows),
});

// A panel a line, so that a change of one shows as one line.
const print = ({ panels, ...rest }) => {
  const head = Object.entries(rest).map(([k, v]) => `  ${JSON.stringify(k)}: ${JSON.stringify(v)}`);
  const lines = panels.map((p) => `    ${JSON.stringify(p)}`).join(",\n");
  return `{\n${head.join(",\n")},\n  "panels": [\n${lines}\n  ]\n}\n`;
};

for (const [name, description] of Object.entries({ platform, workers, gateway })) {
  const file = new URL(`${name}.json`, OUT);
  const text = print(dashboard(description));
  if (!process.argv.includes("--check")) writeFileSync(file, text);
  else if (readFileSync(file, "utf8") !== text) {
    console.error(`error: charts/parley/files/dashboards/${name}.json is stale: run node hack/dashboards/build.mjs`);
    process.exitCode = 1;
  }
}
