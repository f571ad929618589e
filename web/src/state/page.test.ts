import { describe, expect, it } from "vitest";
import { en } from "../i18n/en";
import { fill } from "../i18n";
import { ko } from "../i18n/ko";
import { day } from "../i18n/time";
import { rowsOf } from "./rows";
import { emailFault, idsIn, messageBytes, nameFault, passwordFault, statusFault, userIdFault } from "./validate";
import { rowAt, sliceOf, topsOf, wholeUpTo } from "./window";

describe("the window of a long list", () => {
  it("holds everything while the list is short", () => {
    expect(sliceOf(topsOf(Array.from({ length: wholeUpTo }, () => 40)), 500, 600)).toMatchObject({ start: 0, end: wholeUpTo });
  });

  it("covers what is visible at any place, and adds up to the whole height", () => {
    const heights = Array.from({ length: 5_000 }, (_, i) => 20 + ((i * 37) % 90));
    const tops = topsOf(heights);
    const total = tops[5_000] ?? 0;
    for (let y = 0; y <= total - 600; y += 997) {
      const slice = sliceOf(tops, y, 600);
      expect(tops[slice.start]).toBeLessThanOrEqual(y);
      expect(tops[slice.end]).toBeGreaterThanOrEqual(y + 600);
      expect(slice.end - slice.start).toBeLessThan(140);
      const shown = heights.slice(slice.start, slice.end).reduce((sum, h) => sum + h, 0);
      expect(slice.above + shown + slice.below).toBe(total);
    }
  });

  it("finds the row at a height", () => {
    const tops = topsOf([10, 20, 30]);
    expect([-5, 0, 9, 10, 29, 30, 500].map((y) => rowAt(tops, y))).toEqual([0, 0, 0, 1, 1, 2, 2]);
    expect(rowAt(topsOf([]), 5)).toBe(0);
  });
});

describe("rows", () => {
  const message = (seq: number, writerId: string, createdAt: string) => ({ roomId: "r", seq, writerId, message: "x", createdAt, requestId: `q${seq}` });

  it("carry the day once and the name once a run", () => {
    const rows = rowsOf(
      [
        message(1, "mina", "2026-01-01T10:00:00Z"),
        message(2, "mina", "2026-01-01T10:01:00Z"),
        message(3, "me", "2026-01-01T10:01:30Z"),
        message(4, "me", "2026-01-01T10:20:00Z"),
        message(5, "me", "2026-01-03T10:20:00Z"),
      ],
      [{ id: "p1", text: "y", afterSeq: 5, request: undefined }],
      "me",
    );
    expect(rows.map((r) => [r.newDay, r.head])).toEqual([
      [true, true],
      [false, false],
      [false, true],
      [false, true],
      [true, true],
      [false, false],
    ]);
    expect(new Set(rows.map((r) => r.key)).size).toBe(6);
  });
});

describe("the rules of the contract", () => {
  it("hold for ids, names, passwords and addresses", () => {
    expect(["ab", "a.b_c-9", "Mina ", "x".repeat(32)].map(userIdFault)).toEqual([undefined, undefined, undefined, undefined]);
    expect(["a", "x".repeat(33), "a b", "é1", ""].every((id) => userIdFault(id) !== undefined)).toBe(true);
    expect([passwordFault("1234567"), passwordFault("12345678"), passwordFault("x".repeat(129))]).toEqual(["valid.password", undefined, "valid.password"]);
    expect([nameFault("   "), nameFault("👩‍💻"), nameFault("가".repeat(64)), nameFault("가".repeat(65))]).toEqual(["valid.name", undefined, undefined, "valid.name"]);
    expect([emailFault("a@b"), emailFault("a@b.c"), emailFault("a b@c.d")]).toEqual(["valid.email", undefined, "valid.email"]);
    expect([statusFault(""), statusFault("x".repeat(141))]).toEqual([undefined, "valid.status"]);
  });

  it("count a message in bytes after trimming, and ids once", () => {
    expect(messageBytes("  가나 \n")).toBe(6);
    expect(idsIn(" mina, Luca;mina\n jonas ")).toEqual(["mina", "luca", "jonas"]);
  });
});

describe("texts", () => {
  it("stand in both languages with the same blanks", () => {
    const blanks = (text: string) => [...new Set(text.match(/\{\w+\}/gu) ?? [])].toSorted();
    for (const key of Object.keys(en) as (keyof typeof en)[]) {
      expect(ko[key], key).not.toBe("");
      expect(blanks(ko[key]), key).toEqual(blanks(en[key]));
    }
  });

  it("choose the plural and write numbers as the language does", () => {
    expect(fill("{n} message|{n} messages#", "en", { n: 1 })).toBe("1 message");
    expect(fill("{n} message|{n} messages#", "en", { n: 1_200 })).toBe("1,200 messages");
    expect(fill("{name}: {text}", "en", { name: "{text}", text: "$&" })).toBe("{text}: $&");
  });

  it("name days in the reader's zone", () => {
    const now = new Date(2026, 5, 10, 0, 30);
    expect(day(new Date(2026, 5, 10, 0, 5).toISOString(), now)).toBe("Today");
    expect(day(new Date(2026, 5, 9, 23, 55).toISOString(), now)).toBe("Yesterday");
    expect(day("no date", now)).toBe("no date");
  });
});
