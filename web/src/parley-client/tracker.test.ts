import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Http } from "./http";
import { accepted, FakeServer, json } from "./testing";
import type { RequestSpec } from "./request";
import { Tracker } from "./tracker";
import type { Reply } from "./types";

const spec: RequestSpec<"AddChat"> = { kind: "AddChat", method: "POST", path: "/api/rooms/r/messages", body: { message: "hi" }, keyed: true };
const reply = (requestId: string, more: object = {}) =>
  ({ kind: "AddChat", requestId, isSuccess: true, roomId: "r", seq: 1, ...more }) as Reply;

let server: FakeServer;
let tracker: Tracker;
let keys = 0;
const settle = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  keys = 0;
  tracker = new Tracker(new Http(server.fetch, ""), () => `key-${(keys += 1)}`);
});
afterEach(() => {
  tracker.clear();
  vi.useRealTimers();
});

describe("a request", () => {
  it("is done by the reply event", async () => {
    server.answer = () => accepted("q1");
    const request = tracker.start(spec);
    expect(request.phase).toBe("sending");
    await settle();
    expect(request.phase).toBe("waiting");
    tracker.reply(reply("q1"));
    expect(request.phase).toBe("done");
    await expect(request.result).resolves.toMatchObject({ seq: 1 });
    expect(server.calls[0]?.headers["idempotency-key"]).toBe("key-1");
  });

  it("is done by a reply that was faster than the 202", async () => {
    server.answer = () => accepted("q1");
    const request = tracker.start(spec);
    tracker.reply(reply("q1"));
    await settle();
    expect(request.phase).toBe("done");
  });

  it("is slow after a second and unknown after the deadline, and a later look settles it", async () => {
    server.answer = (method) => (method === "POST" ? accepted("q1", 5_000) : json(202, { requestId: "q1" }));
    const request = tracker.start(spec);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(request.phase).toBe("slow");
    await vi.advanceTimersByTimeAsync(6_500);
    expect(request.phase).toBe("unknown");
    server.answer = () => json(200, reply("q1"));
    await request.check();
    expect(request.phase).toBe("done");
  });

  it("looks by itself whether an unknown one has settled", async () => {
    server.answer = (method) => (method === "POST" ? accepted("q1", 1_000) : json(202, {}));
    const request = tracker.start(spec);
    await vi.advanceTimersByTimeAsync(3_500);
    expect(request.phase).toBe("unknown");
    server.answer = () => json(200, reply("q1", { isSuccess: false, errorCode: "not_a_member" }));
    await vi.advanceTimersByTimeAsync(3_500);
    expect(request.phase).toBe("failed");
    expect(request.error?.code).toBe("not_a_member");
  });

  it("has not happened when the server does not know it long after its deadline, and not before", async () => {
    server.answer = (method) => (method === "POST" ? accepted("q1", 1_000) : json(404, { code: "invalid_request" }));
    const request = tracker.start(spec);
    await vi.advanceTimersByTimeAsync(100);
    tracker.lookAfterAll();
    await vi.advanceTimersByTimeAsync(3_500);
    expect(request.phase).toBe("unknown");
    await vi.advanceTimersByTimeAsync(80_000);
    expect(request.phase).toBe("failed");
    expect(request.error?.code).toBe("lost");
  });

  it("is sent again under the same key when no answer came", async () => {
    let tries = 0;
    server.answer = () => {
      tries += 1;
      if (tries < 3) throw new TypeError("connection reset");
      return accepted("q1");
    };
    const request = tracker.start(spec);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(request.requestId).toBe("q1");
    expect(server.calls.map((call) => call.headers["idempotency-key"])).toEqual(["key-1", "key-1", "key-1"]);
  });

  it("is unknown, not failed, when no answer ever came; checking sends it again under its key", async () => {
    server.answer = () => {
      throw new TypeError("offline");
    };
    const request = tracker.start(spec);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(request.phase).toBe("unknown");
    server.answer = () => json(200, reply("q1"));
    await request.check();
    expect(request.phase).toBe("done");
    expect(new Set(server.calls.map((call) => call.headers["idempotency-key"]))).toEqual(new Set(["key-1"]));
  });

  it("without a key fails when no answer came", async () => {
    server.answer = () => {
      throw new TypeError("offline");
    };
    const request = tracker.start({ kind: "Login", method: "POST", path: "/api/session", keyed: false });
    await settle();
    expect(request.phase).toBe("failed");
    expect(request.error?.code).toBe("network");
  });

  it("refused before acceptance keeps its key, refused by a worker gets a new one", async () => {
    server.answer = () => json(503, { code: "unavailable" }, { "retry-after": "2" });
    const first = tracker.start(spec);
    await settle();
    expect(first.phase).toBe("failed");
    expect(first.error?.retryAfterMs).toBe(2_000);
    expect(first.keyForRetry()).toBe("key-1");

    server.answer = () => accepted("q2");
    const second = tracker.start(spec);
    await settle();
    tracker.reply(reply("q2", { isSuccess: false, errorCode: "rate_limited", retryAfter: 7 }));
    expect(second.error?.retryAfterMs).toBe(7_000);
    expect(second.keyForRetry()).not.toBe(second.key);
  });

  it("given up at its deadline may be tried again under the same key", async () => {
    server.answer = () => accepted("q1");
    const request = tracker.start(spec);
    await settle();
    tracker.reply(reply("q1", { isSuccess: false, errorCode: "deadline_exceeded" }));
    expect(request.keyForRetry()).toBe(request.key);
  });

  it("is asked after when replies may have been missed", async () => {
    server.answer = (method) => (method === "POST" ? accepted("q1") : json(200, reply("q1")));
    const request = tracker.start(spec);
    await settle();
    tracker.lookAfterAll();
    await settle();
    expect(request.phase).toBe("done");
  });
});
