// What Grafana does to an expression before it asks Prometheus.

// With every variable at "All" and an interval of some scrapes.
export const fill = (expr) =>
  expr.replace(/\$__rate_interval/g, "30s").replace(/\$(namespace|job|instance)\b/g, ".+");

// Every query of a dashboard with its panel.
export const panelQueries = (dashboard) =>
  dashboard.panels.flatMap((panel) =>
    (panel.targets ?? []).map(({ expr, legendFormat }) => ({ panel, title: panel.title, expr, legendFormat })));

// The whole expression of an alert, so that it answers also while nothing is wrong: comparisons give 0 or 1 instead of nothing, and
// of what is only there unless something else is, both must be there, and match. An expression that then is empty could never fire.
export const whole = (expr) =>
  expr
    .split(/(\{[^}]*\})/)
    .map((part, n) => (n % 2 ? part : part.replace(/\s(==|!=|>=|<=|>|<)\s+(?!bool\b)/g, " $1 bool ").replace(/\bunless\b/g, "and")))
    .join("");

// The selectors of an expression: each series that it asks for, with its labels.
export const selectorsOf = (expr) => [...new Set(expr.match(/\bparley_\w+(\{[^}]*\})?/g))];
