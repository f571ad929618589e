// The gateway's tables.
import { figure, middle, NONE, of, spread, table, write } from "./statistics.mjs";

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
  const say = (name, text) => {
    const all = results.runs(`gateway-${name}`);
    return all.length > 0 ? text(all, (pick) => spread(of(all, pick))) : NONE;
  };
  const one = (name, text) => (results.one(name) ? text(results.one(name)) : NONE);
  const lost = (all) => `${write(all.reduce((sum, r) => sum + r.lost, 0))} messages lost`;
  const latency = (figures, field) => `${figures((r) => r[field].p50)} / ${figures((r) => r[field].p99)} ms`;
  return table(["what", "measured"], [
    ["memory of an idle stream, KiB", say("idle", (all, figures) => `${figures((r) => r.kibPerStream)}, with ${write(all[0].streams)} streams`)],
    ["a stream for each of so many users, each opened when it is due: p50 / p99 until it is live", say("connect", (all, figures) => `${write(all[0].streams)} at ${write(all[0].duePerSecond)} a second: ${latency(figures, "fromDueMs")}; ${figures((r) => r.sentAway)} sent away to come again`)],
    ["as many readers that do not read beside the healthy ones: p50 and p99 of these by those without", one("gateway-stuck", (r) => (r.queuedBytes ? `${write(r.p50Ratio, 2)} and ${write(r.p99Ratio, 2)} (${write(r.healthy)} healthy; ${write(r.stuck)} were stuck and ended as slow, ${write(Math.min(...r.queuedBytes) / 2 ** 20, 1)} MiB waiting for them at the start of a phase)` : NONE))],
    ["drain: streams that left and came back elsewhere, over so long, busiest second by the mean", say("drain", (all, figures) => `${figures((r) => r.returned)} over ${figures((r) => r.overSeconds)} s, ${figures((r) => r.peakToMean)}; ${lost(all)}${all[0].drainSeconds ? `; the process ended after ${figures((r) => r.endedAfterSeconds)} s of the ${write(all[0].drainSeconds)} s that it had` : ""}`)],
    ["a gateway killed: all back at another one", say("crash", (all, figures) => `${figures((r) => r.returned)} over ${figures((r) => r.overSeconds)} s; ${lost(all)}`)],
    ["a flood of new connections a second: p50 / p99 of healthy streams before, and meanwhile", say("flood", (all, figures) => `${write(middle(of(all, (r) => r.connectsPerSecond)))}: ${latency(figures, "beforeMs")}, ${latency(figures, "duringMs")}; ${lost(all)}, memory ${figures((r) => r.beforeMib)} → ${figures((r) => r.peakMib)} MiB`)],
  ]);
};

// Everything that people do, mixed.
const day = (results) => {
  const runs = results.runs("gateway-day");
  if (runs.length === 0) return "";
  const sum = (pick) => write(runs.reduce((all, r) => all + pick(r), 0));
  const millis = (pick) => ["p50", "p99", "max"].map((q) => figure(of(runs, (r) => pick(r)?.[q])));
  const rows = Object.keys(runs[0].actions).map((action) => [action, sum((r) => r.actions[action]?.count ?? 0), sum((r) => r.actions[action]?.failed ?? 0), ...millis((r) => r.actions[action]?.millis)]);
  const last = ["a message, from due to its event on a stream", sum((r) => r.deliveries), sum((r) => r.lost), ...millis((r) => r.fromDueMs)];
  return `\nA mixed day: ${write(runs[0].streams)} streams, ${write(runs[0].rate)} actions a second, each when it is due; counts are of all ${runs.length} runs.\n\n${table(["action", "times", "not done", "p50", "p99", "longest (ms)"], [...rows, last])}\n`;
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
