import { beforeEach, describe, expect, it, vi } from "vitest";
import { ParleyError, type Message } from "../parley-client";
import { Http } from "../parley-client/http";
import { accepted, FakeServer, json } from "../parley-client/testing";
import type { TrackedRequest } from "../parley-client/request";
import { Tracker } from "../parley-client/tracker";
import type { Reply } from "../parley-client/types";
import { Conversation } from "./conversation";

const log: Message[] = [];
const server = new FakeServer();
let tracker = new Tracker(new Http(server.fetch, ""));
let historyFails = false;

vi.mock("./client", () => ({
  parley: {
    send: (roomId: string, message: string, key?: string): TrackedRequest<"AddChat"> =>
      tracker.start({ kind: "AddChat", method: "POST", path: `/api/rooms/${roomId}/messages`, body: { message }, keyed: true }, key),
    history: async (_room: string, range: { before?: number; after?: number; limit: number }) => {
      if (historyFails) throw new ParleyError("network", "offline");
      const { before = Infinity, after, limit } = range;
      const found = log.filter((m) => (after === undefined ? m.seq < before : m.seq > after));
      const messages = after === undefined ? found.slice(-limit) : found.slice(0, limit);
      return { messages, next: found.length > limit ? 0 : undefined };
    },
  },
}));

const entry = (seq: number, text = `m${seq}`, writerId = "mina", requestId = `r${seq}`): Message => ({
  roomId: "room",
  seq,
  writerId,
  message: text,
  createdAt: "2026-01-01T00:00:00Z",
  requestId,
});
const reply = (requestId: string, more: object) => ({ kind: "AddChat", requestId, isSuccess: true, ...more }) as Reply;
const tick = () => new Promise((resolve) => setTimeout(resolve, 0));
const shown = (talk: Conversation) => [...talk.log.messages.map((m) => m.message), ...talk.pending.map((p) => `(${p.text})`)];

let talk: Conversation;
beforeEach(async () => {
  log.length = 0;
  log.push(entry(1), entry(2));
  server.calls.length = 0;
  historyFails = false;
  tracker = new Tracker(new Http(server.fetch, ""));
  talk = new Conversation("room", "me");
  await talk.open();
});

describe("what I write", () => {
  it("stands there at once and is settled by its reply", async () => {
    server.answer = () => accepted("q1");
    talk.send("hello");
    expect(shown(talk)).toEqual(["m1", "m2", "(hello)"]);
    await tick();
    tracker.reply(reply("q1", { seq: 3, message: "hello", createdAt: "2026-01-01T00:00:01Z" }));
    expect(shown(talk)).toEqual(["m1", "m2", "hello"]);
    talk.live(entry(3, "hello", "me", "q1"));
    expect(shown(talk)).toEqual(["m1", "m2", "hello"]);
  });

  it("is settled by its event as well, and never stands there twice when that is faster than the 202", async () => {
    server.answer = () => accepted("q1");
    talk.send("hello");
    talk.live(entry(3, "hello", "me", "q1"));
    expect(shown(talk)).toEqual(["m1", "m2", "hello"]);
    await tick();
    expect(shown(talk)).toEqual(["m1", "m2", "hello"]);
    tracker.reply(reply("q1", { seq: 3, message: "hello" }));
    expect(shown(talk)).toEqual(["m1", "m2", "hello"]);
  });

  it("twice the same is there twice", async () => {
    let n = 0;
    server.answer = () => accepted(`q${(n += 1)}`);
    talk.send("ok");
    talk.send("ok");
    expect(shown(talk)).toEqual(["m1", "m2", "(ok)", "(ok)"]);
    await tick();
    talk.live(entry(3, "ok", "me", "q1"));
    expect(shown(talk)).toEqual(["m1", "m2", "ok", "(ok)"]);
    await tick();
  });

  it("goes in the order it was written: the next waits for the one before", async () => {
    let n = 0;
    server.answer = () => accepted(`q${(n += 1)}`);
    talk.send("one");
    talk.send("two");
    await tick();
    expect(server.calls).toHaveLength(1);
    tracker.reply(reply("q1", { seq: 3, message: "one" }));
    await tick();
    expect(server.calls.map((call) => call.body)).toEqual([{ message: "one" }, { message: "two" }]);
  });

  it("and failed stays until it is tried again or discarded, and holds up nothing", async () => {
    server.answer = () => json(503, { code: "unavailable" });
    talk.send("one");
    await tick();
    expect(talk.pending[0]?.request?.phase).toBe("failed");
    server.answer = () => accepted("q2");
    talk.send("two");
    await tick();
    tracker.reply(reply("q2", { seq: 3, message: "two" }));
    expect(shown(talk)).toEqual(["m1", "m2", "two", "(one)"]);
    talk.retry(talk.pending[0]?.id ?? "");
    await tick();
    expect(server.calls[2]?.headers["idempotency-key"]).toBe(server.calls[0]?.headers["idempotency-key"]);
    tracker.reply(reply("q2", { seq: 4, message: "one" }));
    talk.discard(talk.pending[0]?.id ?? "");
    expect(talk.pending).toEqual([]);
  });
});

describe("what others write", () => {
  it("behind a hole is shown when the hole is filled", async () => {
    log.push(entry(3), entry(4), entry(5));
    talk.live(entry(5));
    expect(shown(talk)).toEqual(["m1", "m2"]);
    await tick();
    expect(shown(talk)).toEqual(["m1", "m2", "m3", "m4", "m5"]);
  });

  it("under a number that is known with another request has the room read again", async () => {
    log.splice(0, 2, entry(1, "new one", "mina", "x1"), entry(2, "new two", "mina", "x2"));
    talk.live(entry(2, "new two", "mina", "x2"));
    await tick();
    expect(shown(talk)).toEqual(["new one", "new two"]);
  });

  it("during an interruption is read afterwards, or the newest part when it was much", async () => {
    for (let seq = 3; seq <= 60; seq++) log.push(entry(seq));
    await talk.catchUp();
    expect(talk.log.lastSeq).toBe(60);
    expect(talk.log.firstSeq).toBe(1);
    for (let seq = 61; seq <= 400; seq++) log.push(entry(seq));
    await talk.catchUp();
    expect(talk.log.lastSeq).toBe(400);
    expect(talk.log.firstSeq).toBe(351);
  });
});

describe("history", () => {
  it("is read page by page up to the first message", async () => {
    log.length = 0;
    for (let seq = 1; seq <= 120; seq++) log.push(entry(seq));
    talk = new Conversation("room", "me");
    await talk.open();
    expect([talk.log.firstSeq, talk.log.reachedStart]).toEqual([71, false]);
    await talk.older();
    await talk.older();
    expect([talk.log.firstSeq, talk.log.reachedStart]).toEqual([1, true]);
    expect(talk.log.messages).toHaveLength(120);
  });

  it("that cannot be read says so and can be read later", async () => {
    historyFails = true;
    talk = new Conversation("room", "me");
    await talk.open();
    expect(talk.reading.value).toBe("failed");
    expect(talk.error.value?.code).toBe("network");
    historyFails = false;
    await talk.open();
    expect(shown(talk)).toEqual(["m1", "m2"]);
  });
});
