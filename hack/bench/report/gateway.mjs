// The gateway's tables.
import { figure, middle, NONE, of, table, write } from "./statistics.mjs";

// The rounds of a scenario of fan-out; none when it was not run.
export const rounds = (results, name) => results.one(`gateway-${name}`)?.rounds ?? [];

const fanout = (results) => {
  const row = (name, what) => {
    const report = results.one(`gateway-${name}`);
    const all = rounds(results, name);
    const from = (field, q) => figure(of(all, (r) => r[field][q]));
    return [
      what.replace("STREAMS", report ? write(report.streams) : "…"),
      figure(of(all, (r) => r.deliveriesPerSecond)),
      ...["p50", "p99", "p999"].map((q) => from("fromDueMs", q)),
      ...["p50", "p99"].map((q) => from("fromStoredMs", q)),
      figure(of(all, (r) => r.gatewayMicrosPerDelivery)),
      figure(of(all, (r) => 1e6 / r.gatewayMicrosPerDelivery)),
      report ? write(report.residentMib) : NONE,
    ];
  };
  return table(["load", "deliveries a second", "from due: p50", "p99", "p99.9 (ms)", "from stored: p50", "p99 (ms)", "µs of the gateway each", "deliveries a second of one core", "MiB"], [
    row("big", "STREAMS streams of one room, 5 messages a second"),
    row("thousand", "STREAMS streams of one room, 5 messages a second"),
    row("fanout", "STREAMS streams in rooms of 100, 50 messages a second"),
  ]);
};

const rest = (results) => {
  const one = (name) => results.one(`gateway-${name}`);
  const say = (name, text) => (one(name) ? text(one(name)) : NONE);
  const ms = (q) => `${write(q.p50, 1)} / ${write(q.p99, 1)} ms`;
  return table(["what", "measured"], [
    ["memory of an idle stream, KiB", say("idle", (r) => `${write(r.kibPerStream, 2)} (${write(r.streams)} streams)`)],
    ["a stream for each of so many users, each opened when it is due: p50 / p99 until it is live", say("connect", (r) => `${write(r.streams)} at ${write(r.duePerSecond)} a second: ${ms(r.fromDueMs)}; ${write(r.sentAway)} sent away to come again`)],
    ["as many readers that do not read beside the healthy ones: p50 and p99 of these by those without", say("stuck", (r) => (r.queuedBytes ? `${write(r.p50Ratio, 2)} and ${write(r.p99Ratio, 2)} (${write(r.healthy)} healthy; ${write(r.stuck)} were stuck and ended as slow, ${write(Math.min(...r.queuedBytes) / 2 ** 20, 1)} MiB waiting for them at the start of a phase)` : NONE))],
    ["drain: streams that left and came back elsewhere, over so long, busiest second by the mean", say("drain", (r) => `${write(r.returned)} over ${write(r.overSeconds, 1)} s, ${write(r.peakToMean, 2)}; ${write(r.lost)} messages lost${r.drainSeconds ? `; the process ended after ${write(r.endedAfterSeconds, 1)} s of the ${write(r.drainSeconds)} s that it had` : ""}`)],
    ["a gateway killed: all back at another one", say("crash", (r) => `${write(r.returned)} over ${write(r.overSeconds, 1)} s; ${write(r.lost)} messages lost`)],
    ["a flood of new connections a second: p50 / p99 of healthy streams before, and meanwhile", say("flood", (r) => `${write(r.connectsPerSecond)}: ${ms(r.beforeMs)}, ${ms(r.duringMs)}; ${write(r.lost)} lost, memory ${write(r.beforeMib)} → ${write(r.peakMib)} MiB`)],
  ]);
};

// Everything that people do, mixed.
const day = (results) => {
  const report = results.one("gateway-day");
  if (!report) return "";
  const rows = Object.entries(report.actions).map(([action, { count, failed, millis }]) => [action, write(count), write(failed), ...["p50", "p99", "max"].map((q) => write(millis[q], 1))]);
  const last = ["a message, from due to its event on a stream", write(report.deliveries), write(report.lost), ...["p50", "p99", "max"].map((q) => write(report.fromDueMs[q], 1))];
  return `\nA mixed day: ${write(report.streams)} streams, ${write(report.rate)} actions a second, each when it is due.\n\n${table(["action", "times", "not done", "p50", "p99", "longest (ms)"], [...rows, last])}\n`;
};

const counts = (results) => {
  const [gateway, worker] = ["gateway", "worker"].map((name) => results.one(`counts-${name}`));
  return table(["counted, not timed", "each"], [
    ["allocations of the worker, for each message from a backlog", worker ? write(worker.allocationsPerMessage, 1) : NONE],
    ["calls of the system by the worker, for each message from a backlog", worker ? write(worker.callsPerMessage, 3) : NONE],
    ["allocations of the gateway, for each delivery", gateway ? write(gateway.allocationsPerDelivery, 2) : NONE],
    ["calls of the system by the gateway, for each delivery", gateway ? write(gateway.callsPerDelivery, 2) : NONE],
  ]);
};

export const gateway = (results) => [fanout(results), "", rest(results), day(results), counts(results)].join("\n").replace(/\n{3,}/g, "\n\n");
export const roundsMiddle = (results, name, pick) => middle(of(rounds(results, name), pick));
