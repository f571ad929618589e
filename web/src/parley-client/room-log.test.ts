import { describe, expect, it } from "vitest";
import { RoomLog } from "./room-log";
import type { Message } from "./types";

const message = (seq: number, requestId = `r${seq}`): Message => ({
  roomId: "room",
  seq,
  writerId: "mina",
  message: `m${seq}`,
  createdAt: "2026-01-01T00:00:00Z",
  requestId,
});
const seqs = (log: RoomLog) => log.messages.map((m) => m.seq);

describe("RoomLog", () => {
  it("takes each message once, in order", () => {
    const log = new RoomLog();
    log.addPage([message(3), message(1), message(2)]);
    expect(log.add(message(4))).toBe("new");
    expect(log.add(message(4))).toBe("duplicate");
    expect(log.add(message(2))).toBe("duplicate");
    expect(seqs(log)).toEqual([1, 2, 3, 4]);
  });

  it("shows nothing behind a hole until the hole is filled", () => {
    const log = new RoomLog();
    log.addPage([message(5)]);
    log.add(message(8));
    log.add(message(7));
    expect(seqs(log)).toEqual([5]);
    expect(log.gap).toBe(6);
    log.addPage([message(6), message(7)]);
    expect(seqs(log)).toEqual([5, 6, 7, 8]);
    expect(log.gap).toBeUndefined();
  });

  it("puts older pages before the newer ones", () => {
    const log = new RoomLog();
    log.addPage([message(51), message(52)]);
    expect(log.addPage([message(49), message(50)])).toBe(2);
    expect(seqs(log)).toEqual([49, 50, 51, 52]);
    expect(log.firstSeq).toBe(49);
  });

  it("keeps a live message that came before the first page", () => {
    const log = new RoomLog();
    log.add(message(7));
    log.addPage([message(5), message(6), message(7)]);
    expect(seqs(log)).toEqual([5, 6, 7]);
  });

  it("leaves messages far before the run to history", () => {
    const log = new RoomLog();
    log.addPage([message(50), message(51)]);
    expect(log.add(message(10))).toBe("duplicate");
    log.addPage([message(20)]);
    expect(seqs(log)).toEqual([50, 51]);
    expect(log.gap).toBeUndefined();
  });

  it("tells of a number that is known with another request", () => {
    const log = new RoomLog();
    log.addPage([message(1)]);
    expect(log.add(message(1, "other"))).toBe("conflict");
  });

  it("comes to the same run in whatever order messages arrive", () => {
    const all = Array.from({ length: 40 }, (_, i) => message(i + 1));
    let state = 7;
    const random = () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
    for (let round = 0; round < 50; round++) {
      const log = new RoomLog();
      log.addPage([message(1)]);
      const shuffled = [...all, ...all].map((m) => [random(), m] as const).toSorted((a, b) => a[0] - b[0]);
      for (const [, m] of shuffled) log.add(m);
      expect(seqs(log)).toEqual(all.map((m) => m.seq));
    }
  });
});
