// What was aimed at, and what it became.
import { roundsMiddle } from "./gateway.mjs";
import { middle, table, write } from "./statistics.mjs";
import { bare } from "./worker.mjs";

const mid = (runs, pick) => middle(runs.map(pick));

// "| 1000 topics from nothing (…) | 8.9 s |": a figure of the controller's table.
const controller = (results, start) => {
  const line = results.controller.split("\n").find((row) => row.startsWith(`| ${start}`));
  return Number.parseFloat(line?.split("|")[2]);
};

// `before` is what stands there: an aim that was not measured now keeps its figure.
export const summary = (results, before) => {
  const backlog = results.runs("worker-backlog");
  const rate = mid(backlog, (r) => r.perSecond);
  const goals = [
    ["AddChat, Kafka to PostgreSQL to acknowledged reply and event, a second", rate, ">=", 25_000, 0],
    ["… by a plain loop that takes one record at a time", rate / mid(results.runs("worker-one-by-one"), (r) => r.perSecond), ">=", 20, 1],
    ["processor time for each by the bare sum of its inserts, reads and writes", mid(backlog, (r) => r.cost.system) / bare(results).sum, "<=", 1.6, 2],
    ["p99 to the event on a stream at 12,500 a second, ms", mid(results.runs("worker-streams"), (r) => r.streamMs?.p99), "<=", 50, 1],
    ["logins a second by argon2 alone, %", (100 * mid(results.runs("worker-logins"), (r) => r.perSecond)) / mid(results.runs("worker-hash"), (r) => r.perSecond), ">=", 90, 0],
    ["chat's p99 beside logins by that without", mid(results.runs("worker-logins"), (r) => r.p99Ratio), "<=", 1.5, 2],
    ["fan-out to 10,000 at 5 a second, p99, ms", roundsMiddle(results, "big", (r) => r.fromDueMs.p99), "<", 60, 1],
    ["fan-out to 1,000 at 5 a second, p99, ms", roundsMiddle(results, "thousand", (r) => r.fromDueMs.p99), "<", 8, 1],
    ["10,000 streams with 5,000 deliveries a second, p99, ms", roundsMiddle(results, "fanout", (r) => r.fromDueMs.p99), "<", 25, 1],
    ["gateway's processor time for each delivery (10,000 at 5 a second), µs", roundsMiddle(results, "big", (r) => r.gatewayMicrosPerDelivery), "<=", 10, 1],
    ["memory of an idle stream, KiB", mid(results.runs("gateway-idle"), (r) => r.kibPerStream), "<=", 12, 1],
    ["1,000 topics from nothing to ready, s", controller(results, "1000 topics from nothing"), "<", 10, 1],
    ["1,000 sets of one topic at once, s", controller(results, "1000 sets of one topic"), "<", 20, 1],
    ["processor time of the idle controller (10,000 topics, 50 sets, 200 worker targets), % of a core", controller(results, "the same, idle for"), "<", 1, 2],
    ["memory of the controller with 1,000 sets of one topic, MB", controller(results, "memory (resident) with"), "<", 50, 0],
    ["memory of the idle controller (10,000 topics, 50 sets, 200 worker targets), MB", controller(results, "… memory (resident)"), "<", 50, 0],
    ...["worker", "gateway", "controller"].map((name) => [`start of a ${name} until it is ready, ms`, mid(results.runs(`start-${name}`), (r) => r.ms), "<", 1_000, 0]),
  ];
  const rows = goals.map(([what, value, sign, goal, digits]) => {
    const known = before.split("\n").find((row) => row.startsWith(`| ${what} |`));
    if (!Number.isFinite(value) && known) return known.split("|").slice(1, -1).map((cell) => cell.trim());
    if (!Number.isFinite(value)) return [what, `${sign} ${write(goal, Number.isInteger(goal) ? 0 : 1)}`, "not measured yet", ""];
    const met = { ">=": value >= goal, "<=": value <= goal, "<": value < goal }[sign];
    return [what, `${sign} ${write(goal, Number.isInteger(goal) ? 0 : 1)}`, write(value, digits), met ? "met" : "**missed**"];
  });
  return table(["aim", "goal", "measured", ""], rows);
};
