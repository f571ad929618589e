import { beforeEach, describe, expect, it } from "vitest";
import { SharedStream } from "./tabs";
import { FakeBrowser, FakeSource } from "./testing";

let browser: FakeBrowser;
const tick = () => new Promise((resolve) => setTimeout(resolve, 0));

function tab(): SharedStream {
  return new SharedStream({
    url: "/api/events",
    name: "t",
    probe: async () => "open",
    create: () => new FakeSource(),
    channel: browser.channel(),
    lock: browser.lock,
  });
}

beforeEach(() => {
  browser = new FakeBrowser();
  FakeSource.made = [];
});

describe("seven tabs", () => {
  it("share one stream, and each hears each event once", async () => {
    const tabs = Array.from({ length: 7 }, tab);
    const heard = tabs.map(() => 0);
    tabs.forEach((t, i) => t.events.on((event) => void (event.name === "message" && (heard[i] = (heard[i] ?? 0) + 1))));
    for (const t of tabs) t.open();
    await tick();
    expect(FakeSource.made).toHaveLength(1);
    FakeSource.last.say("hello", { userId: "mina" });
    FakeSource.last.say("message", { roomId: "r", seq: 1 });
    expect(heard).toEqual([1, 1, 1, 1, 1, 1, 1]);
    expect(tabs.map((t) => t.state)).toEqual(Array.from({ length: 7 }, () => "live"));
    expect(tabs.map((t) => t.userId)).toEqual(Array.from({ length: 7 }, () => "mina"));
    for (const t of tabs) t.dispose();
  });

  it("hand the stream on when the one that keeps it goes, and read again", async () => {
    const [first, second, third] = [tab(), tab(), tab()];
    for (const t of [first, second, third]) t.open();
    await tick();
    FakeSource.last.say("hello", { userId: "mina" });
    const rereads: string[] = [];
    third.reread.on((reason) => rereads.push(reason));
    first.dispose();
    await tick();
    expect(FakeSource.made).toHaveLength(2);
    expect(FakeSource.made[0]?.closed).toBe(true);
    expect(second.leading).toBe(true);
    FakeSource.last.say("hello", { userId: "mina" });
    expect(third.state).toBe("live");
    expect(rereads).toEqual(["fresh"]);
  });

  it("tell a tab that comes later how things stand", async () => {
    const first = tab();
    first.open();
    await tick();
    FakeSource.last.say("hello", { userId: "mina" });
    const late = tab();
    expect(late.state).toBe("live");
    expect(late.userId).toBe("mina");
  });

  it("open the stream anew when the cookie changes in any of them", async () => {
    const [first, second] = [tab(), tab()];
    first.open();
    await tick();
    second.reopen();
    expect(FakeSource.made).toHaveLength(2);
    expect(first.leading).toBe(true);
  });

  it("pass notes on, but not to the one that says them", () => {
    const [first, second] = [tab(), tab()];
    const heard: unknown[] = [];
    first.notes.on((note) => heard.push(["first", note]));
    second.notes.on((note) => heard.push(["second", note]));
    first.note({ read: "r", seq: 3 });
    expect(heard).toEqual([["second", { read: "r", seq: 3 }]]);
  });
});
