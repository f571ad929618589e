import type { TextKey } from "../i18n";

/**
 * The rules of the contract, checked before anything is sent so that a slip is told at once; the worker
 * decides all the same. Each gives the text that says what is wrong, or undefined.
 */

const idRule = /^[a-z0-9._-]{2,32}$/u;
const emailRule = /^[^\s@]+@[^\s@]+\.[^\s@]+$/u;

/** Ids are compared after lower-casing. */
export function normalId(text: string): string {
  return text.trim().toLowerCase();
}

export function userIdFault(text: string): TextKey | undefined {
  return idRule.test(normalId(text)) ? undefined : "valid.user";
}

export function passwordFault(text: string): TextKey | undefined {
  return within(text, 8, 128) ? undefined : "valid.password";
}

export function emailFault(text: string): TextKey | undefined {
  return emailRule.test(text.trim()) ? undefined : "valid.email";
}

export function nameFault(text: string): TextKey | undefined {
  return within(text.trim(), 1, 64) ? undefined : "valid.name";
}

export function statusFault(text: string): TextKey | undefined {
  return within(text.trim(), 0, 140) ? undefined : "valid.status";
}

/** Counts characters as people do: code points, not UTF-16 units. */
function within(text: string, least: number, most: number): boolean {
  const { length } = [...text];
  return length >= least && length <= most;
}

/** Bytes in UTF-8 of a message after trimming. */
export function messageBytes(text: string): number {
  return new TextEncoder().encode(text.trim()).length;
}

export const mostMessageBytes = 16_384;

/** The user ids in a text, separated by spaces, commas or semicolons, each once. */
export function idsIn(text: string): string[] {
  return [...new Set(text.split(/[\s,;]+/u).map(normalId).filter((id) => id !== ""))];
}
