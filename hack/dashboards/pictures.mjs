// Draws each dashboard as an SVG from what a Prometheus holds: what a reader may expect to see.
//   node hack/dashboards/pictures.mjs http://127.0.0.1:9095 FOLDER
//   node hack/dashboards/pictures.mjs --check    do the pictures in docs/ show the panels that the dashboards have now?
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fill, panelQueries } from "./query.mjs";

const [PROMETHEUS, OUT] = process.argv.slice(2);
const CHART = new URL("../../charts/parley/files/dashboards/", import.meta.url);
const DRAWN = new URL("../../docs/dashboards/", import.meta.url);
const [CELL_W, CELL_H, GAP] = [50, 30, 6]; // one cell of Grafana's grid, in pixels
const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"];
const MINUTES = 10;

const ask = async (query, start, end) => {
  const params = new URLSearchParams({ query, start, end, step: 5 });
  const answer = await (await fetch(`${PROMETHEUS}/api/v1/query_range?${params}`)).json();
  if (answer.status !== "success") throw new Error(`${query}: ${answer.error}`);
  return answer.data.result.map(({ metric, values }) => ({ metric, points: values.map(([t, v]) => [t, Number(v)]).filter(([, v]) => Number.isFinite(v)) }));
};

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const text = (x, y, what, more = "") => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escape(what)}</text>`;
const legend = (format, metric) => format.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? "");

const UNITS = { s: [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]], bytes: [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]] };
const show = (value, unit) => {
  const round = (v) => String(Number(v.toPrecision(3)));
  const [factor, name] = (UNITS[unit] ?? []).find(([f]) => Math.abs(value) >= f) ?? [1, { ops: "/s", reqps: "/s" }[unit] ?? ""];
  return value === 0 ? "0" : `${round(value / factor)}${name && name !== "/s" ? " " : ""}${name}`;
};

// The frame that a panel draws in, with its axes.
const axes = (box, top, unit, start, end) => {
  const lines = [0, 0.5, 1].map((part) => {
    const y = box.y + box.h * (1 - part);
    return `<line x1="${box.x}" x2="${box.x + box.w}" y1="${y}" y2="${y}" stroke="#ddd"/>${text(box.x - 4, y + 3, show(top * part, unit), 'text-anchor="end"')}`;
  });
  const minutes = Math.round((end - start) / 60);
  return [...lines, text(box.x, box.y + box.h + 11, `−${minutes} min`), text(box.x + box.w, box.y + box.h + 11, "now", 'text-anchor="end"')].join("");
};

const draw = {
  timeseries(series, box, unit, start, end) {
    const top = Math.max(...series.flatMap((s) => s.points.map(([, v]) => v)), 0) || 1;
    const at = ([t, v]) => `${(box.x + (box.w * (t - start)) / (end - start)).toFixed(1)},${(box.y + box.h * (1 - v / top)).toFixed(1)}`;
    const line = ({ points }, i) => `<polyline fill="none" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="1.3" points="${points.map(at).join(" ")}"/>`;
    const rows = Math.max(1, Math.floor((box.legend - 2) / 11));
    const columns = Math.max(1, Math.min(3, Math.ceil(series.length / rows)));
    const names = series.slice(0, rows * columns).map(({ name }, i) => {
      const [x, y] = [box.x - 30 + Math.floor(i / rows) * ((box.w + 30) / columns), box.y + box.h + 24 + (i % rows) * 11];
      const cut = Math.floor((box.w + 30) / columns / 5.2) - 2;
      return `<rect x="${x}" y="${y - 7}" width="7" height="7" fill="${COLOURS[i % COLOURS.length]}"/>${text(x + 10, y, name.length > cut ? `${name.slice(0, cut - 1)}…` : name)}`;
    });
    return axes(box, top, unit, start, end) + series.map(line).join("") + names.join("");
  },
  stat(series, box, unit) {
    const value = series[0].points.at(-1)[1];
    return text(box.x + box.w / 2 - 15, box.y + box.h / 2 + 18, show(value, unit), 'font-size="26" text-anchor="middle" fill="#2ca02c"');
  },
  table(series, box) {
    const rows = Math.floor((box.h + box.legend) / 12);
    return series.slice(0, rows).map(({ metric, points }, i) => {
      const labels = Object.entries(metric).filter(([k]) => k !== "__name__").map(([, v]) => v).join("  ");
      return text(box.x - 30, box.y + 8 + i * 12, labels) + text(box.x + box.w, box.y + 8 + i * 12, points.at(-1)[1], 'text-anchor="end"');
    }).join("");
  },
  // Cumulative buckets, each cell the share between two bounds.
  heatmap(series, box, unit, start, end) {
    const sorted = series.filter(({ metric }) => metric.le !== "+Inf").sort((a, b) => Number(a.metric.le) - Number(b.metric.le));
    const values = sorted.map(({ points }, i) => points.map(([t, v]) => [t, Math.max(0, v - (i > 0 ? (new Map(sorted[i - 1].points).get(t) ?? 0) : 0))]));
    const most = Math.max(...values.flat().map(([, v]) => v), 1e-9);
    const [w, h] = [(box.w * 5) / (end - start), box.h / sorted.length];
    const cells = values.flatMap((points, row) => points.filter(([, v]) => v > 0).map(([t, v]) =>
      `<rect x="${(box.x + (box.w * (t - start)) / (end - start)).toFixed(1)}" y="${(box.y + box.h - (row + 1) * h).toFixed(1)}" width="${w.toFixed(1)}" height="${h.toFixed(1)}" fill="#e6550d" fill-opacity="${(0.15 + 0.85 * (v / most)).toFixed(2)}"/>`));
    const bounds = sorted.filter((_, i) => i % 2 === 0).map(({ metric }, i) => text(box.x - 4, box.y + box.h - (2 * i + 0.5) * h + 3, show(Number(metric.le), unit), 'text-anchor="end"'));
    return cells.join("") + bounds.join("") + text(box.x, box.y + box.h + 11, `−${Math.round((end - start) / 60)} min`) + text(box.x + box.w, box.y + box.h + 11, "now", 'text-anchor="end"');
  },
};

const panel = async (p, queries, start, end) => {
  const { x, y, w, h } = p.gridPos;
  const [left, top, width, height] = [x * CELL_W, y * CELL_H, w * CELL_W - GAP, h * CELL_H - GAP];
  if (p.type === "row") return text(left + 4, top + 18, p.title, 'font-size="13" font-weight="bold"');
  const series = [];
  for (const { expr, legendFormat } of queries)
    for (const { metric, points } of await ask(fill(expr), start, end)) if (points.length > 0) series.push({ metric, points, name: legend(legendFormat, metric) || "value" });
  const below = p.type === "timeseries" ? 14 + 11 * Math.min(6, Math.max(1, Math.ceil(series.length / 2))) : 14;
  const box = { x: left + 48, y: top + 26, w: width - 58, h: height - 40 - below, legend: below };
  const body = series.length > 0 ? draw[p.type](series, box, p.fieldConfig.defaults.unit, start, end) : text(left + width / 2, top + height / 2, "no data in this run", 'text-anchor="middle" fill="#999"');
  return `<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="#fff" stroke="#ccc"/>${text(left + 8, top + 15, p.title, 'font-weight="bold" font-size="11"')}${body}`;
};

// The titles of what a picture shows, in its order, and those of the dashboard.
const check = (file) => {
  const wanted = JSON.parse(readFileSync(new URL(file, CHART), "utf8")).panels.map((p) => escape(p.title));
  const svg = readFileSync(new URL(file.replace(".json", ".svg"), DRAWN), "utf8");
  const drawn = [...svg.matchAll(/<text [^>]*font-weight="bold"[^>]*>([^<]*)</g)].map(([, title]) => title);
  const stale = wanted.find((title, n) => drawn[n] !== title) ?? drawn[wanted.length];
  return stale === undefined ? [] : [`docs/dashboards/${file.replace(".json", ".svg")} is not of today's dashboard, as "${stale}" shows: make pictures`];
};

if (PROMETHEUS === "--check") {
  const problems = readdirSync(CHART).flatMap(check);
  problems.forEach((problem) => console.error(problem));
  process.exit(problems.length > 0 ? 1 : 0);
}

mkdirSync(OUT, { recursive: true });
const end = Math.floor(Date.now() / 1000);
for (const file of readdirSync(CHART)) {
  const dashboard = JSON.parse(readFileSync(new URL(file, CHART), "utf8"));
  const queries = panelQueries(dashboard);
  const parts = [];
  for (const p of dashboard.panels) parts.push(await panel(p, queries.filter((q) => q.panel === p), end - MINUTES * 60, end));
  const height = Math.max(...dashboard.panels.map(({ gridPos: { y, h } }) => (y + h) * CELL_H));
  writeFileSync(`${OUT}/${file.replace(".json", ".svg")}`,
    `<svg xmlns="http://www.w3.org/2000/svg" width="${24 * CELL_W}" height="${height}" font-family="sans-serif" font-size="9" fill="#333"><rect width="100%" height="100%" fill="#f4f5f5"/>\n${parts.join("\n")}\n</svg>\n`);
}
