// The tables of the section Worker.
import { figure, middle, NONE, of, spread, table, write } from "./statistics.mjs";

const clean = (findings) => Object.entries(findings).every(([name, count]) => count === 0 || ["repeated", "reordered"].includes(name));

// What the same inserts, the same reads and the same writes take alone, in microseconds for each message.
export const bare = (results) => {
  const postgres = middle(of(results.runs("worker-limit-postgres"), (r) => r.cost.postgres + r.cost.loadgen));
  const kafka = middle(of(results.runs("worker-limit-kafka"), (r) => r.microsPerMessage));
  return { postgres, kafka, sum: postgres + kafka };
};

const rates = (results) => {
  const backlog = results.runs("worker-backlog");
  const plain = results.runs("worker-one-by-one");
  const share = (limit) => {
    const [ours, theirs] = [middle(of(backlog, (r) => r.perSecond)), middle(limit)];
    if (!(ours && theirs)) return "";
    const ratio = ours / theirs;
    return ratio >= 10 ? `${write(ratio)} times` : `${write(100 * ratio)} %`;
  };
  const limits = [
    ["PostgreSQL alone: the same rows, 500 in a statement, on two connections", of(results.runs("worker-limit-postgres"), (r) => r.perSecond)],
    ["Kafka alone, the worker's client library: a request read, a reply and an event written", of(results.runs("worker-limit-kafka"), (r) => r.perSecond)],
    ["Kafka's `ProducerPerformance`, records of 500 bytes, acks=all, idempotent", of(results.runs("worker-perf-tools"), (r) => r.producePerSecond)],
    ["Kafka's `ConsumerPerformance`, the same records", of(results.runs("worker-perf-tools"), (r) => r.consumePerSecond)],
    ["a plain loop: one record, one transaction, one reply, one commit; one loop a partition", of(plain, (r) => r.perSecond)],
  ];
  return table(["a second", "median (lowest–highest)", "the worker by this"], [
    ["**the worker**, from a full backlog to acknowledged replies and events", figure(of(backlog, (r) => r.perSecond)), ""],
    ...limits.map(([what, values]) => [what, figure(values), share(values)]),
  ]);
};

const costs = (results) => {
  const backlog = results.runs("worker-backlog");
  const { sum } = bare(results);
  const postgres = results.runs("worker-limit-postgres");
  const kafka = results.runs("worker-limit-kafka");
  const plain = results.runs("worker-one-by-one");
  const row = (what, runs, pick) => [what, figure(of(runs, pick))];
  const system = middle(of(backlog, (r) => r.cost.system));
  return table(["microseconds of processor time for each message", "median (lowest–highest)"], [
    row("worker", backlog, (r) => r.cost.worker),
    row("PostgreSQL", backlog, (r) => r.cost.postgres),
    row("broker", backlog, (r) => r.cost.broker),
    row("**all three**", backlog, (r) => r.cost.system),
    row("bare inserts of the same rows: PostgreSQL and its client", postgres, (r) => r.cost.postgres + r.cost.loadgen),
    row("bare reads and writes of the same records: broker and its client", kafka, (r) => r.microsPerMessage),
    ["**all three by the sum of both**", system && sum ? `${write(system / sum, 2)} times` : NONE],
    row("the plain loop, PostgreSQL and broker", plain, (r) => r.cost.system + r.cost.loadgen),
    row("cores that others used meanwhile", backlog, (r) => r.cost.foreignCores),
  ]);
};

const latencies = (results) => {
  const row = (what, runs, field) => [
    runs.length > 0 ? what.replace("RATE", write(runs[0].rate)) : what.replace("RATE", "…"),
    ...["p50", "p90", "p99", "p999", "max"].map((q) => spread(of(runs, (r) => r[field]?.[q])) ?? (runs.length > 0 ? "" : NONE)),
  ];
  const [steady, half, streams] = ["steady", "half", "streams"].map((name) => results.runs(`worker-${name}`));
  const picture = steady.length + half.length > 0 ? "\n\n![How late replies and events are, by share of all messages](benchmarks/latency.svg)\n" : "";
  return table(["milliseconds from the moment a message was due", "p50", "p90", "p99", "p99.9", "longest"], [
    row("RATE a second, to its reply", steady, "replyMs"),
    row("… to its event", steady, "eventMs"),
    row("RATE a second (half of what is aimed at), to its reply", half, "replyMs"),
    row("… to its event", half, "eventMs"),
    row("the same rate with a gateway and a stream for each room, to the event there", streams, "streamMs"),
  ]) + picture;
};

const plainParts = (results) => {
  const plain = results.runs("worker-one-by-one").filter((r) => r.millis);
  if (plain.length === 0) return "";
  const part = (name) => spread(of(plain, (r) => r.millis[name]));
  return `\nThe plain loop waits, for each message, ${part("database")} ms for its transaction, ${part("produce")} ms for the broker to have reply and event, and ${part("commit")} ms for the offset.\n`;
};

const scaling = (results) => {
  const all = [1, 2, 4, 8].map((n) => [n, results.runs(`worker-scaling-${n}`)]).filter(([, runs]) => runs.length > 0);
  if (all.length === 0) return "";
  const row = (what, pick) => [what, ...all.map(([, runs]) => spread(of(runs, pick)))];
  return `\n${table(["partitions, and workers, each a process", ...all.map(([n]) => write(n))], [
    row("messages a second", (r) => r.perSecond),
    row("µs of the workers for each", (r) => r.cost.worker),
    row("µs of PostgreSQL for each", (r) => r.cost.postgres),
    row("µs of the broker for each", (r) => r.cost.broker),
    row("cores that all three keep busy", (r) => (r.perSecond * r.cost.system) / 1e6),
  ])}\n`;
};

const ROOMS = [1, 10, 100, 500];
const rooms = (results) => {
  const all = ROOMS.map((n) => [n, results.runs(`worker-rooms-${n}`)]).filter(([, runs]) => runs.length > 0);
  if (all.length === 0) return "";
  const row = (what, pick) => [what, ...all.map(([, runs]) => spread(of(runs, pick)))];
  return `\n${table(["rooms that share the backlog", ...all.map(([n]) => write(n))], [row("messages a second", (r) => r.perSecond), row("µs of all three for each", (r) => r.cost.system)])}\n`;
};

const others = (results) => {
  const hash = results.runs("worker-hash");
  const logins = results.runs("worker-logins");
  const [limit, rate] = [middle(of(hash, (r) => r.perSecond)), middle(of(logins, (r) => r.perSecond))];
  const [small, big] = [results.runs("worker-stream"), results.runs("worker-stream-big")];
  const stream = (runs) => (runs.length > 0 ? `${write(runs[0].streams)} streams` : "many streams");
  return table(["what", "median (lowest–highest)"], [
    [`argon2 alone (19 MiB, t=2, p=1), ${hash[0]?.threads ?? "…"} thread: passwords a second`, figure(of(hash, (r) => r.perSecond))],
    ["logins a second while 500 messages a second are saved", figure(of(logins, (r) => r.perSecond))],
    ["… by argon2 alone", limit && rate ? `${write((100 * rate) / limit)} %` : NONE],
    ["p99 of these messages to their event, without logins, ms", figure(of(logins, (r) => r.aloneMs.p99))],
    ["… beside the logins, ms", figure(of(logins, (r) => r.besideMs.p99))],
    ["… the second by the first", figure(of(logins, (r) => r.p99Ratio))],
    [`bare writes to ${stream(small)}, 5 events a second: p50 / p99, ms`, [spread(of(small, (r) => r.fromDueMs.p50)), spread(of(small, (r) => r.fromDueMs.p99))].filter(Boolean).join(" / ") || NONE],
    ["… processor time for each write, µs", figure(of(small, (r) => r.microsPerDelivery))],
    [`bare writes to ${stream(big)}, 5 events a second: p50 / p99, ms`, [spread(of(big, (r) => r.fromDueMs.p50)), spread(of(big, (r) => r.fromDueMs.p99))].filter(Boolean).join(" / ") || NONE],
    ["… processor time for each write, µs", figure(of(big, (r) => r.microsPerDelivery))],
  ]);
};

const stages = (results) => {
  const runs = results.runs("worker-stages").map(({ before, after }) => (name) => after[name] - (before[name] ?? 0));
  if (runs.length === 0) return "";
  const batch = spread(of(runs, (r) => r("records_sum") / r("records_count")));
  const stage = (name) => spread(of(runs, (r) => (1e3 * r(`duration_seconds_sum.${name}`)) / r(`duration_seconds_count.${name}`)));
  return `\nOf a batch of ${batch} messages the worker's own histogram says: decode ${stage("decode")} ms, transaction ${stage("transaction")} ms, produce ${stage("produce")} ms.\n`;
};

const audits = (results) => {
  const runs = ["worker-backlog", ...ROOMS.map((n) => `worker-rooms-${n}`), "worker-steady", "worker-half", "worker-streams"].flatMap((name) => results.runs(name));
  const messages = runs.reduce((sum, r) => sum + r.messages, 0);
  const bad = runs.filter((r) => !clean(r.findings));
  if (runs.length === 0) return "";
  return bad.length === 0
    ? `Audited: all ${write(messages)} messages of ${runs.length} runs have one row, one number, a reply and an event that say the same, in the order in which they were sent.`
    : `**The audit of ${bad.length} of ${runs.length} runs found something wrong: ${bad.map((r) => JSON.stringify(r.findings)).join("; ")}**`;
};

export const worker = (results) => [rates(results), "", costs(results), stages(results), plainParts(results), scaling(results), latencies(results), rooms(results), others(results), "", audits(results)].join("\n").replace(/\n{3,}/g, "\n\n");
