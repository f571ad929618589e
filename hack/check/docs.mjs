// Links in the documentation lead somewhere, no machine's path is named, shell blocks are sound as far as can be told without
// running them (tests/e2e/bundle/pages.rs runs some), and the health check for Argo CD judges sets as it should.
//   node hack/check/docs.mjs
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

const ROOT = new URL("../../", import.meta.url).pathname;
const problems = [];
const read = (file) => readFileSync(join(ROOT, file), "utf8");
const pages = ["README.md", ...readdirSync(join(ROOT, "docs")).filter((f) => f.endsWith(".md")).map((f) => `docs/${f}`)];
const makefile = read("Makefile");
let blocks = 0;

// bash takes it, and what it names of the clone is there.
const judge = (place, text) => {
  blocks += 1;
  const { status, stderr } = spawnSync("bash", ["-n"], { input: text, encoding: "utf8" });
  if (status !== 0) problems.push(`${place}: bash does not take it: ${stderr.trim()}`);
  for (const [path] of text.matchAll(/(?<![\w./~-])(?:charts|crds|docs|hack|migrations)\/[\w./-]*/g)) {
    if (!existsSync(join(ROOT, path))) problems.push(`${place}: there is no ${path}`);
  }
  for (const [, target] of text.matchAll(/^\s*make (\w[\w-]*)/gm)) {
    if (!new RegExp(`^${target}:`, "m").test(makefile)) problems.push(`${place}: there is no make ${target}`);
  }
};

// As GitHub makes them.
const anchors = (text) => new Set([...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").trim().replace(/ /g, "-")));

for (const page of pages) {
  const text = read(page);
  for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [path, anchor] = target.split("#");
    const file = path ? normalize(join(dirname(page), path)).replace(/\/$/, "") : page;
    if (!existsSync(join(ROOT, file))) problems.push(`${page}: there is no ${file}`);
    else if (anchor && file.endsWith(".md") && !anchors(read(file)).has(anchor)) problems.push(`${page}: ${file} has no section #${anchor}`);
  }
  for (const { 1: indentation, 2: block, index } of text.matchAll(/^( *)```sh\n([\s\S]*?)^ *```$/gm)) {
    judge(`${page}:${text.slice(0, index).split("\n").length}`, block.replaceAll(new RegExp(`^${indentation}`, "gm"), ""));
  }
  const other = /^ *```(bash|shell|console)$/m.exec(text);
  if (other) problems.push(`${page}: say sh instead of ${other[1]}, or the block is not looked at`);
  const path = /(?:\/work\/|\/root\/|\/tmp\/)\S*/.exec(text);
  if (path) problems.push(`${page} names a path of some machine: ${path[0]}`);
}

// The health check, run by a real Lua on the conditions that a set may have.
const lua = /^ {4}local health[\s\S]*?^ {4}return health$/m.exec(read("docs/gitops.md"))?.[0];
if (!lua) problems.push("docs/gitops.md has no health check");
const set = (generation, observed, ...conditions) =>
  `{metadata = {generation = ${generation}}, status = {observedGeneration = ${observed}, conditions = {${conditions.map(([type, status, reason]) => `{type = "${type}", status = "${status}", reason = "${reason}", message = ""}`).join(", ")}}}}`;
const CASES = [
  ["{metadata = {generation = 1}}", "Progressing"],
  [set(2, 1, ["Ready", "True", "Reconciled"]), "Progressing"],
  [set(2, 2, ["Ready", "True", "Reconciled"], ["Stalled", "False", "Reconciled"]), "Healthy"],
  [set(2, 2, ["Ready", "False", "Progressing"], ["Stalled", "False", "Progressing"]), "Progressing"],
  [set(2, 2, ["Ready", "False", "InvalidConfig"], ["Stalled", "True", "InvalidConfig"]), "Degraded"],
  [set(2, 2, ["Ready", "Unknown", "Paused"], ["Stalled", "False", "Paused"]), "Suspended"],
];
for (const [obj, want] of lua ? CASES : []) {
  const got = execFileSync("lua5.3", ["-e", `local function judge(obj)\n${lua}\nend\nprint(judge(${obj}).status)`], { encoding: "utf8" }).trim();
  if (got !== want) problems.push(`the health check calls ${obj} ${got}, not ${want}`);
}

if (blocks === 0) problems.push("no page has a shell block: they are not written as this script reads them");

if (problems.length > 0) {
  console.error(problems.map((p) => `error: ${p}`).join("\n"));
  process.exit(1);
}
console.log(`docs: ${pages.length} pages, every link leads somewhere; ${blocks} shell blocks are sound; the health check judges ${CASES.length} sets`);
