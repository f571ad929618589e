import type { Message } from "../parley-client";
import type { Pending } from "./conversation";
import { sameDay } from "../i18n/time";

/** A line of the message list. */
export interface Row {
  key: string;
  writerId: string;
  text: string;
  /** Undefined while the server has not said when. */
  at: string | undefined;
  seq: number | undefined;
  pending: Pending | undefined;
  /** Whether the row is the first of its day, and carries the day's heading. */
  newDay: boolean;
  /** Whether the row is the first of a run by one writer, and carries the name. */
  head: boolean;
}

/** Messages of one writer further apart than this are told apart. */
const runMs = 5 * 60_000;

/** The rows for a log and for what is still to be sent, oldest first. */
export function rowsOf(log: readonly Message[], pending: readonly Pending[], me: string): Row[] {
  const rows: Row[] = [];
  let before: { writerId: string; date: Date } | undefined;
  for (const message of log) {
    const date = new Date(message.createdAt);
    const newDay = before === undefined || !sameDay(before.date, date);
    const head =
      newDay || before?.writerId !== message.writerId || date.getTime() - (before?.date.getTime() ?? 0) > runMs;
    rows.push({
      key: `m${message.seq}`,
      writerId: message.writerId,
      text: message.message,
      at: message.createdAt,
      seq: message.seq,
      pending: undefined,
      newDay,
      head,
    });
    before = { writerId: message.writerId, date };
  }
  for (const one of pending) {
    const head = before?.writerId !== me;
    rows.push({ key: one.id, writerId: me, text: one.text, at: undefined, seq: undefined, pending: one, newDay: false, head });
    before = { writerId: me, date: before?.date ?? new Date() };
  }
  return rows;
}
