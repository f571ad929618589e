import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { EventStream, type SessionProbe } from "./stream";
import { FakeSource } from "./testing";

let stream: EventStream;
let states: string[];
let rereads: string[];
let probe: SessionProbe;

beforeEach(() => {
  vi.useFakeTimers();
  FakeSource.made = [];
  probe = async () => "open";
  stream = new EventStream({ url: "/api/events", probe: () => probe(), create: () => new FakeSource(), random: () => 1 });
  states = [];
  rereads = [];
  stream.states.on((state) => states.push(state));
  stream.reread.on((reason) => rereads.push(reason));
});
afterEach(() => {
  stream.close();
  vi.useRealTimers();
});

function openLive(): void {
  stream.open();
  FakeSource.last.say("hello", { userId: "mina" });
}

describe("the stream", () => {
  it("is live with the first hello, and has state read", () => {
    openLive();
    expect(states).toEqual(["connecting", "live"]);
    expect(rereads).toEqual(["fresh"]);
    expect(stream.userId).toBe("mina");
  });

  it("opens once", () => {
    openLive();
    stream.open();
    expect(FakeSource.made).toHaveLength(1);
  });

  it("resumed has missed nothing, and nothing is read again", () => {
    openLive();
    FakeSource.last.fail();
    expect(stream.state).toBe("reconnecting");
    FakeSource.last.say("hello", { userId: "mina" });
    expect(stream.state).toBe("reconnecting");
    FakeSource.last.say("resumed", { replayed: 3 });
    expect(stream.state).toBe("live");
    expect(rereads).toEqual(["fresh"]);
  });

  it("that could not be resumed has state read again", () => {
    openLive();
    FakeSource.last.fail();
    FakeSource.last.say("hello", { userId: "mina" });
    FakeSource.last.say("resync", { reason: "expired" });
    expect(stream.state).toBe("live");
    expect(rereads).toEqual(["fresh", "expired"]);
  });

  it("that is told nothing about its cursor does not trust it", () => {
    openLive();
    FakeSource.last.fail();
    FakeSource.last.say("hello", { userId: "mina" });
    vi.advanceTimersByTime(5_000);
    expect(rereads).toEqual(["fresh", "silent"]);
    expect(stream.state).toBe("live");
  });

  it("whose session becomes known has state read", () => {
    stream.open();
    FakeSource.last.say("hello", {});
    FakeSource.last.say("hello", { userId: "mina" });
    expect(rereads).toEqual(["fresh", "session"]);
    expect(stream.userId).toBe("mina");
  });

  it("that was ended says so and stays closed", async () => {
    openLive();
    probe = async () => "ended";
    FakeSource.last.fail(true);
    await vi.advanceTimersByTimeAsync(120_000);
    expect(states.at(-1)).toBe("signed-out");
    expect(FakeSource.made).toHaveLength(1);
  });

  it("that the browser gave up on comes back, each time later", async () => {
    openLive();
    const waits: number[] = [];
    for (let i = 0; i < 4; i++) {
      const before = Date.now();
      const had = FakeSource.made.length;
      FakeSource.last.fail(true);
      while (FakeSource.made.length === had) await vi.advanceTimersByTimeAsync(100);
      waits.push(Date.now() - before);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000]);
    FakeSource.last.say("hello", { userId: "mina" });
    expect(stream.state).toBe("live");
    expect(rereads).toEqual(["fresh", "fresh"]);
  });

  it("comes back also when the session cannot be asked after", async () => {
    openLive();
    probe = async () => {
      throw new Error("away");
    };
    FakeSource.last.fail(true);
    await vi.advanceTimersByTimeAsync(1_500);
    expect(FakeSource.made).toHaveLength(2);
  });

  it("hears nothing of a source that was dropped", () => {
    openLive();
    const old = FakeSource.last;
    stream.reopen();
    old.say("message", { roomId: "r" });
    old.fail(true);
    expect(old.closed).toBe(true);
    expect(stream.state).toBe("connecting");
  });

  it("is opened anew after the machine slept", () => {
    openLive();
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(10_000);
    expect(FakeSource.made).toHaveLength(2);
  });

  it("drops what is no JSON object", () => {
    openLive();
    const heard: string[] = [];
    stream.events.on((event) => heard.push(event.name));
    FakeSource.last.say("message", 7);
    FakeSource.last.say("message", { roomId: "r" });
    expect(heard).toEqual(["message"]);
  });
});
