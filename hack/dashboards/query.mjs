// What Grafana does to an expression before it asks Prometheus.

// With every variable at "All" and an interval of some scrapes.
export const fill = (expr) =>
  expr.replace(/\$__rate_interval/g, "30s").replace(/\$(namespace|job|instance)\b/g, ".+");

// Every query of a dashboard with its panel.
export const panelQueries = (dashboard) =>
  dashboard.panels.flatMap((panel) =>
    (panel.targets ?? []).map(({ expr, legendFormat }) => ({ panel, title: panel.title, expr, legendFormat })));
