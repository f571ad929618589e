// Every set of npm packages that a lock file of ours pins, held against the registry's list of known faults. That the registry cannot be
// reached is said, and passes; what it answers about faults is judged, whatever words stand in it.
//   node hack/check/npm-audit.mjs
import { execFileSync, spawnSync } from "node:child_process";
import { dirname, join } from "node:path";

const ROOT = new URL("../../", import.meta.url).pathname;
const locks = execFileSync("git", ["ls-files", "--", "package-lock.json", "**/package-lock.json"], { cwd: ROOT, encoding: "utf8" });
const files = locks.split("\n").filter(Boolean);
let faults = 0;
for (const file of files) {
  // It ends with 1 when it knows of faults, and when it knows nothing.
  const audit = spawnSync("npm", ["audit", "--package-lock-only", "--json"], { cwd: dirname(join(ROOT, file)), encoding: "utf8", timeout: 120_000 });
  let answer = {};
  try {
    answer = JSON.parse(audit.stdout);
  } catch {
    // No answer at all.
  }
  if (!answer.metadata?.vulnerabilities) {
    console.log(`${file}: the registry cannot be reached from here, not checked: ${answer.message ?? answer.error?.summary ?? "no answer"}`);
    continue;
  }
  const found = Object.values(answer.vulnerabilities);
  faults += found.length;
  for (const { name, range, severity } of found) console.log(`${file}: ${name} ${range} has a known fault, ${severity}`);
  if (found.length === 0) console.log(`${file}: no known fault`);
}
if (files.length < 2) {
  console.error(`only ${files.length} lock files were found`);
  process.exit(1);
}
process.exit(faults === 0 ? 0 : 1);
