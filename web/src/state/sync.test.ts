import { describe, expect, it, vi } from "vitest";
import type { StreamState } from "../parley-client";
import { parley } from "./client";
import { connection } from "./connection";
import { rooms } from "./rooms";
import { phase } from "./session";
import { startSync } from "./sync";

/** The part of the client that is used, with a stream that this test moves. */
interface Fake {
  stream: { state: StreamState; become(state: StreamState): void; reread: { emit(reason: string): void } };
  reads: number;
}

vi.mock("./client", async () => {
  const { Emitter } = await import("../parley-client/emitter");
  const states = new Emitter<StreamState>();
  const fake = {
    reads: 0,
    events: new Emitter(),
    stream: {
      state: "off" as StreamState,
      states,
      reread: new Emitter(),
      notes: new Emitter(),
      open: () => undefined,
      close: () => undefined,
      note: () => undefined,
      become(state: StreamState) {
        fake.stream.state = state;
        states.emit(state);
      },
    },
    me: async () => ({ userId: "me", userName: "Me", userStatus: "", email: "" }),
    rooms: async () => {
      fake.reads += 1;
      return [{ roomId: "r", roomName: "R", memberCount: 1, members: ["me"], lastSeq: 0, lastMessage: null, lastAt: null, unread: 0 }];
    },
    friends: async () => [],
    forget: () => undefined,
  };
  return { parley: fake };
});

const fake = parley as unknown as Fake;
const tick = () => new Promise((resolve) => setTimeout(resolve, 0));

describe("a tab that follows another's stream", () => {
  it("reads state when it hears that the stream is live, also when it hears so late, and once", async () => {
    startSync();
    await tick();
    expect(phase.value).toBe("signed-in");
    expect([connection.value, fake.reads]).toEqual(["reconnecting", 0]);
    fake.stream.become("live");
    await tick();
    await tick();
    expect([connection.value, fake.reads]).toEqual(["live", 1]);
    expect(rooms.value).toHaveLength(1);
  });

  it("does not read again when an interruption was made good, and does when it was not", async () => {
    fake.stream.become("reconnecting");
    expect(connection.value).toBe("reconnecting");
    fake.stream.become("live");
    await tick();
    expect([connection.value, fake.reads]).toEqual(["live", 1]);
    fake.stream.become("reconnecting");
    fake.stream.become("live");
    fake.stream.reread.emit("expired");
    expect(connection.value).toBe("resync");
    await tick();
    await tick();
    expect([connection.value, fake.reads]).toEqual(["live", 2]);
  });
});
