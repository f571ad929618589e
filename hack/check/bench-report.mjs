// The tables and the picture of docs/benchmarks.md can be made from reports, and nothing of them is typed by hand between the marks:
// made from no reports the page stays as it is, made from some it shows them.
//   node hack/check/bench-report.mjs
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = new URL("../../", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "parley-report-"));
const problems = [];
const made = (reports) => {
  for (const [name, report] of Object.entries(reports)) writeFileSync(join(folder, `${name}.json`), JSON.stringify(report));
  const page = join(folder, "page.md");
  writeFileSync(page, readFileSync(join(ROOT, "docs/benchmarks.md")));
  execFileSync("node", [join(ROOT, "hack/bench/report.mjs"), folder, page]);
  const text = readFileSync(page, "utf8");
  const wrong = /undefined|NaN|Infinity|\[object/.exec(text);
  if (wrong) problems.push(`the page says ${wrong[0]}: …${text.slice(Math.max(0, wrong.index - 80), wrong.index + 40)}…`);
  return text;
};

const latency = { count: 10, p50: 4, p90: 6, p99: 9, p999: 12, max: 20, curve: [[0, 1], [50, 4], [90, 6], [99, 9], [99.9, 12], [100, 20]] };
const cost = { worker: 20, postgres: 18, broker: 7, gateway: 0, loadgen: 2, system: 45, foreignCores: 0.1 };
const findings = { unanswered: 0, doubled: 0, repeated: 3 };
const save = { rate: 1000, messages: 10_000, replyMs: latency, eventMs: latency, streamMs: { ...latency, p99: 99 }, cost, findings };
const backlog = (perSecond) => ({ messages: 100_000, perSecond, cost, findings });
const stages = (n) => ({ records_sum: 500 * n, records_count: n, ...Object.fromEntries(["decode", "transaction", "produce"].flatMap((s) => [[`duration_seconds_sum.${s}`, n / 100], [`duration_seconds_count.${s}`, n]])) });

const before = made({});
writeFileSync(join(folder, "controller.md"), "| what | result |\n|---|---|\n| the same, idle for 120 s: CPU | 1.12 % of a core |\n");
const after = made({
  "machine-worker": { commit: "abc", cpu: "some cpu", cores: 2, memory: "8 GiB", kernel: "6", rustc: "1", java: "17", postgres: "15", kafka: "4", load: "0 0 0" },
  "worker-backlog-1": backlog(30_000), "worker-backlog-2": backlog(26_000), "worker-backlog-3": backlog(28_000), "worker-rooms-100-1": backlog(27_000),
  "worker-limit-postgres-1": { perSecond: 120_000, cost }, "worker-limit-kafka-1": { perSecond: 90_000, microsPerMessage: 12 },
  "worker-one-by-one-1": { perSecond: 1_100, cost, millis: { database: 3, produce: 1, commit: 1 } }, "worker-perf-tools-1": { producePerSecond: 200_000, consumePerSecond: 900_000 },
  "worker-stages-1": { before: stages(1), after: stages(11) }, "worker-steady-1": save, "worker-half-1": save, "worker-streams-1": save,
  "worker-hash-1": { threads: 1, perSecond: 24 }, "worker-logins-1": { perSecond: 23, aloneMs: latency, besideMs: latency, p99Ratio: 1.1 },
  "worker-scaling-1-1": backlog(20_000), "worker-scaling-4-1": backlog(29_000),
  "gateway-big": { streams: 10_000, residentMib: 100, rounds: [41, 43, 45].map((p99) => ({ deliveriesPerSecond: 50_000, fromDueMs: { ...latency, p99 }, fromStoredMs: latency, gatewayMicrosPerDelivery: 9 })) },
  "gateway-idle-1": { streams: 10_000, kibPerStream: 6.8 }, "gateway-connect-1": { streams: 10, duePerSecond: 5, fromDueMs: latency, sentAway: 0 },
  "gateway-stuck": { healthy: 10, stuck: 10, queuedBytes: [3 << 20], p50Ratio: 1, p99Ratio: 1.1 }, "gateway-drain-1": { returned: 10, overSeconds: 3, peakToMean: 1.2, lost: 0 },
  "gateway-crash-1": { returned: 10, overSeconds: 3, lost: 0 }, "gateway-flood-1": { connectsPerSecond: 10, beforeMs: latency, duringMs: latency, lost: 0, beforeMib: 20, peakMib: 30 },
  "gateway-day-1": { streams: 100, rate: 50, actions: { say: { count: 5, failed: 0, millis: latency } }, deliveries: 50, lost: 0, fromDueMs: latency },
  "counts-worker": { allocationsPerMessage: 51.5, callsPerMessage: 0.25 }, "counts-gateway": { allocationsPerDelivery: 1.25, callsPerDelivery: 1.5 },
  "worker-stream-1": { streams: 1_000, fromDueMs: latency, microsPerDelivery: 3 }, "start-worker-1": { ms: 400 }, "start-worker-2": { ms: 420 }, "start-gateway-1": { ms: 1_234 },
});
for (const text of ["28,000 (26,000–30,000)", "some cpu", "25.5", "**missed**", "met |", "Of a batch of 500", "43.0 (41.0–45.0)", "start of a worker until it is ready, ms | < 1,000 | 400 | met", "1,234 | **missed**", "A mixed day", "51.5", "29,000", "% of a core | < 1 | 1.12 | **missed** |"])
  if (!after.includes(text)) problems.push(`the page made from reports does not say ${text}`);
// What was not measured anew keeps its figures and the commit that they are of.
if (before !== readFileSync(join(ROOT, "docs/benchmarks.md"), "utf8")) problems.push("a page made from no reports is not as it was");
const picture = readFileSync(join(folder, "benchmarks/latency.svg"), "utf8");
if ((picture.match(/<polyline/g) ?? []).length !== 4) problems.push("the picture does not show four curves");
rmSync(folder, { recursive: true });

if (problems.length > 0) {
  console.error(problems.map((p) => `error: ${p}`).join("\n"));
  process.exit(1);
}
console.log("benchmarks: the report's tables and picture can be made");
