// A flame graph as SVG, from `perf script` on standard input: width is time, each box stands on its caller.
import { createInterface } from "node:readline";

const [WIDTH, ROW, SMALLEST] = [1400, 16, 0.3];
const root = { name: "all", count: 0, children: new Map() };

// Names without hashes and generic arguments, short enough to read.
const tidy = (name) => name.replace(/::h[0-9a-f]{16}$/, "").replace(/<[^<>]*>/g, "").replace(/<[^<>]*>/g, "").replace(/^\[unknown\]$/, "?");

const add = (stack) => {
  let node = root;
  node.count += 1;
  for (const name of stack) {
    if (!node.children.has(name)) node.children.set(name, { name, count: 0, children: new Map() });
    node = node.children.get(name);
    node.count += 1;
  }
};

// A sample is a line that begins with the thread's name, then a line for each frame, the innermost first, then an empty line.
let stack;
let thread;
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "") {
    if (stack) add([thread, ...stack.reverse()]);
    stack = undefined;
  } else if (/^\S/.test(line)) {
    [thread, stack] = [line.trim().split(/\s+/)[0], []];
  } else {
    const frame = /^\s+[0-9a-f]+ (.*) \(.*\)$/.exec(line);
    if (frame && stack) stack.push(tidy(frame[1].replace(/\+0x[0-9a-f]+$/, "")));
  }
}
if (stack) add([thread, ...stack.reverse()]);
if (root.count === 0) throw new Error("perf script gave no samples");

const escape = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const hue = (name) => [...name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 60, 7);
const boxes = [];
let deepest = 0;
const draw = (node, x, depth) => {
  const width = (node.count / root.count) * WIDTH;
  if (width < SMALLEST) return;
  deepest = Math.max(deepest, depth);
  boxes.push({ name: node.name, share: (100 * node.count) / root.count, x, width, depth });
  let at = x;
  for (const child of [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    draw(child, at, depth + 1);
    at += (child.count / root.count) * WIDTH;
  }
};
draw(root, 0, 0);
const height = (deepest + 2) * ROW;
const out = boxes.map(({ name, share, x, width, depth }) => {
  const y = height - (depth + 1) * ROW;
  const label = width > 30 ? `<text x="${(x + 2).toFixed(1)}" y="${y + 12}">${escape(name.slice(0, Math.floor(width / 6.2)))}</text>` : "";
  return `<g><title>${escape(name)} ${share.toFixed(1)} %</title><rect x="${x.toFixed(1)}" y="${y}" width="${Math.max(width - 0.4, 0.2).toFixed(1)}" height="${ROW - 1}" fill="hsl(${hue(name)},80%,65%)"/>${label}</g>`;
});
console.log(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="10">\n<rect width="${WIDTH}" height="${height}" fill="#fff"/>\n${out.join("\n")}\n</svg>`);
