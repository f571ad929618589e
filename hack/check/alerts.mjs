// Each alert is tested firing and not firing, and has a section in the runbook that it leads to. promtool runs the tests that there
// are, and misses none.
//   node hack/check/alerts.mjs
import { readFileSync } from "node:fs";

const ROOT = new URL("../../", import.meta.url).pathname;
const read = (file) => readFileSync(ROOT + file, "utf8");
const problems = [];

// parts TEXT START: what follows each line that START matches, by what it captures there.
const parts = (text, start) => {
  const found = [...text.matchAll(start)];
  return found.map((match, n) => ({ name: match[1], text: text.slice(match.index, found[n + 1]?.index) }));
};

const alerts = parts(read("charts/parley/files/alerts.yaml"), /^ *- alert: (\S+)$/gm);
const text = read("hack/check/alerts-test.yaml");
// Of one test with its series: at which alerts it looks, and whether they fire then.
const tests = parts(text, /^ *- name: (.*)$/gm).map((test) => ({
  ...test,
  looks: parts(test.text, /^ *- eval_time: (\S+)$/gm).map((look) => ({
    alert: /^ *alertname: (\S+)$/m.exec(look.text)?.[1],
    fires: /^ *exp_alerts:\n *- exp_labels:/m.test(look.text),
  })),
}));
const looks = tests.flatMap((test) => test.looks);
// What is written otherwise than read here would be taken for missing, or not be seen at all.
if (looks.length === 0 || looks.length !== text.match(/\balertname:/g).length) problems.push("hack/check/alerts-test.yaml is not written as hack/check/alerts.mjs reads it");
for (const { alert } of looks) if (!alerts.some(({ name }) => name === alert)) problems.push(`alerts-test.yaml tests ${alert}, which is no alert: it is quiet whatever happens`);

const sections = parts(read("docs/runbook.md"), /^## (Parley[A-Z]\w*)$/gm).map(({ name }) => name);
for (const { name, text } of alerts) {
  // With the same series: an alert without any would be quiet as well.
  const seen = (fires) => (test) => test.looks.some((look) => look.alert === name && look.fires === fires);
  if (!tests.some(seen(true))) problems.push(`${name} has no test in which it fires (hack/check/alerts-test.yaml)`);
  else if (!tests.some((test) => seen(true)(test) && seen(false)(test))) problems.push(`${name} has no test in which it fires at one time and not at another (hack/check/alerts-test.yaml)`);
  if (!sections.includes(name)) problems.push(`${name} has no section in docs/runbook.md`);
  if (!new RegExp(`^ *runbook_url: \\S+/docs/runbook\\.md#${name.toLowerCase()}$`, "m").test(text)) problems.push(`${name}: its runbook_url does not lead to its section`);
}
for (const name of sections) if (!alerts.some((alert) => alert.name === name)) problems.push(`docs/runbook.md has a section ${name}, which is no alert`);

if (problems.length > 0) {
  console.error(problems.map((p) => `error: ${p}`).join("\n"));
  process.exit(1);
}
console.log(`alerts: ${alerts.length}, each tested firing and not firing, each with its section in the runbook`);
