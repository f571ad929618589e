// A picture of latency distributions: percentiles by their number of nines, milliseconds on a logarithmic scale.

const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [860, 380, 60, 30, 20, 50];
const COLOURS = ["#1f77b4", "#17becf", "#d62728", "#ff7f0e"];
const MARKS = [0, 50, 90, 99, 99.9, 99.99];

const nines = (percent) => -Math.log10(1 - Math.min(percent, 99.999) / 100);
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

export const curves = (lines) => {
  const values = lines.flatMap(({ points }) => points.map(([, v]) => v)).filter((v) => v > 0);
  const [low, high] = [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))];
  const x = (percent) => LEFT + (nines(percent) / nines(99.999)) * (WIDTH - LEFT - RIGHT);
  const y = (ms) => TOP + (1 - (Math.log10(Math.max(ms, 10 ** low)) - low) / Math.max(high - low, 1)) * (HEIGHT - TOP - BOTTOM);
  const text = (px, py, what, more = "") => `<text x="${px.toFixed(1)}" y="${py.toFixed(1)}" ${more}>${escape(what)}</text>`;
  const grid = [
    ...MARKS.map((p) => `<line x1="${x(p).toFixed(1)}" x2="${x(p).toFixed(1)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}" stroke="#ddd"/>${text(x(p), HEIGHT - BOTTOM + 15, p === 0 ? "fastest" : `${p} %`, 'text-anchor="middle"')}`),
    ...Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)).map((v) => `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(v).toFixed(1)}" y2="${y(v).toFixed(1)}" stroke="#ddd"/>${text(LEFT - 6, y(v) + 4, `${v} ms`, 'text-anchor="end"')}`),
  ];
  const drawn = lines.map(({ name, points }, i) => {
    const path = points.filter(([p]) => p < 100).map(([p, v]) => `${x(p).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
    const legend = `<rect x="${LEFT + 12}" y="${TOP + 8 + i * 16}" width="10" height="10" fill="${COLOURS[i % COLOURS.length]}"/>${text(LEFT + 28, TOP + 17 + i * 16, name)}`;
    return `<polyline fill="none" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="1.6" points="${path}"/>${legend}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11" fill="#333">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(LEFT, 18, "From the moment a message was due: so many of all were not later", 'font-size="13" font-weight="bold"'),
    ...grid, ...drawn,
    text(WIDTH / 2, HEIGHT - 12, "share of all messages", 'text-anchor="middle"'),
    "</svg>", "",
  ].join("\n");
};
