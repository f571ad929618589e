import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Parley } from "./client";
import { RecentKeys, Versions } from "./dedupe";
import { ParleyError } from "./error";
import { accepted, FakeBrowser, FakeServer, FakeSource, json } from "./testing";

let server: FakeServer;
let parley: Parley;
const tick = () => new Promise((resolve) => setTimeout(resolve, 0));

beforeEach(() => {
  FakeSource.made = [];
  server = new FakeServer();
  const browser = new FakeBrowser();
  parley = new Parley({
    fetch: server.fetch,
    eventSource: () => new FakeSource(),
    channel: browser.channel(),
    lock: browser.lock,
  });
});
afterEach(() => parley.dispose());

describe("the client", () => {
  it("opens the stream anew with the cookie of a login", async () => {
    parley.stream.open();
    await tick();
    server.answer = () => accepted("login-1");
    const request = parley.login("mina", "password1");
    await tick();
    expect(FakeSource.made).toHaveLength(2);
    FakeSource.last.say("reply", { kind: "Login", requestId: "login-1", isSuccess: true, user: { userId: "mina" } });
    await expect(request.result).resolves.toMatchObject({ user: { userId: "mina" } });
    expect(server.calls[0]?.headers["idempotency-key"]).toBeUndefined();
  });

  it("passes a reply on once", async () => {
    parley.stream.open();
    await tick();
    const heard: string[] = [];
    parley.events.on((event) => heard.push(event.name));
    const reply = { kind: "AddFriend", requestId: "q", isSuccess: true };
    FakeSource.last.say("reply", reply);
    FakeSource.last.say("reply", reply);
    expect(heard).toEqual(["reply"]);
    FakeSource.last.say("reply", { ...reply, requestId: "p", isSuccess: false, errorCode: "deadline_exceeded" });
    FakeSource.last.say("reply", { ...reply, requestId: "p" });
    expect(heard).toHaveLength(3);
  });

  it("reads a list page by page, whether the answer comes at once or as an event", async () => {
    parley.stream.open();
    await tick();
    server.answer = (_method, path) => {
      if (!path.includes("after=")) {
        return json(200, { requestId: "a", isSuccess: true, rooms: [{ roomId: "1" }], next: "1" });
      }
      queueMicrotask(() => {
        setTimeout(() => FakeSource.last.say("reply", { kind: "ListRooms", requestId: "b", isSuccess: true, rooms: [{ roomId: "2" }], next: null }), 5);
      });
      return accepted("b");
    };
    expect((await parley.rooms()).map((r) => r.roomId)).toEqual(["1", "2"]);
    expect(server.calls[0]?.headers["prefer"]).toBe("wait=3");
  });

  it("tells nobody signed in from an answer that did not come", async () => {
    server.answer = () => json(401, { code: "unauthenticated" });
    await expect(parley.me()).resolves.toBeUndefined();
    server.answer = () => {
      throw new TypeError("offline");
    };
    await expect(parley.me()).rejects.toMatchObject({ code: "network" });
  });

  it("asks for history by number and refuses what is no page", async () => {
    server.answer = () => json(200, { messages: [] });
    await parley.history("r/1", { before: 51, limit: 50 });
    expect(server.calls[0]?.path).toBe("/api/rooms/r%2F1/messages?before=51&limit=50");
    server.answer = () => new Response("<html>", { status: 200 });
    await expect(parley.history("r", { limit: 50 })).rejects.toMatchObject({ code: "protocol" });
  });

  it("reads problems, also those that something before the gateway made", async () => {
    server.answer = () => json(413, { code: "too_large", detail: "at most 16384 bytes" });
    await expect(parley.markRead("r", 1)).rejects.toMatchObject({ code: "too_large", message: "at most 16384 bytes" });
    server.answer = () => new Response("bad gateway", { status: 502 });
    await expect(parley.markRead("r", 1)).rejects.toMatchObject({ code: "unavailable", status: 502 });
    server.answer = () => json(400, { code: "something_new" });
    await expect(parley.markRead("r", 1)).rejects.toMatchObject({ code: "internal" });
  });
});

describe("what is remembered", () => {
  it("refuses keys that it has, and forgets the oldest", () => {
    const keys = new RecentKeys(2);
    expect([keys.add("a"), keys.add("a"), keys.add("b"), keys.add("c"), keys.add("a")]).toEqual([true, false, true, true, true]);
  });

  it("refuses versions that are not newer", () => {
    const versions = new Versions();
    expect([versions.accept("u", 2), versions.accept("u", 2), versions.accept("u", 1), versions.accept("u", 3)]).toEqual([true, false, false, true]);
    expect(versions.accept("v", 1)).toBe(true);
  });

  it("calls an outcome decided only when a worker has stored it", () => {
    expect(new ParleyError("not_a_member", "").decided).toBe(true);
    expect(new ParleyError("deadline_exceeded", "").decided).toBe(false);
    expect(new ParleyError("unavailable", "", 503).decided).toBe(false);
  });
});
