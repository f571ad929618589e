import { language, t } from "./index";

/** Dates and times in the reader's zone and the page's language. Text that is no date is given back as it is. */

const formats = new Map<string, Intl.DateTimeFormat>();

/** The reader's own variant of the page's language, which knows of 24 hours and of the order of day and month. */
function locale(): string {
  const preferred = globalThis.navigator?.languages ?? [];
  return preferred.find((tag) => tag.startsWith(language.value)) ?? language.value;
}

function format(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = language.value + JSON.stringify(options);
  let made = formats.get(key);
  if (made === undefined) formats.set(key, (made = new Intl.DateTimeFormat(locale(), options)));
  return made;
}

/** Hours and minutes. */
export function clock(at: string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? at : format({ hour: "numeric", minute: "2-digit" }).format(date);
}

/** The whole of it, for a tooltip. */
export function full(at: string): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return at;
  return format({ dateStyle: "full", timeStyle: "long" }).format(date);
}

/** Today, yesterday, or the date. */
export function day(at: string, now = new Date()): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return at;
  if (sameDay(date, now)) return t("time.today");
  const yesterday = new Date(now);
  yesterday.setDate(now.getDate() - 1);
  if (sameDay(date, yesterday)) return t("time.yesterday");
  const year = date.getFullYear() === now.getFullYear() ? {} : ({ year: "numeric" } as const);
  return format({ weekday: "long", month: "long", day: "numeric", ...year }).format(date);
}

/** Short form for lists: the time of today, else the date. */
export function brief(at: string, now = new Date()): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  if (sameDay(date, now)) return clock(at);
  if (date.getFullYear() === now.getFullYear()) return format({ month: "short", day: "numeric" }).format(date);
  return format({ year: "numeric", month: "short", day: "numeric" }).format(date);
}

/** Whether two instants fall on one day of the reader's zone. */
export function sameDay(a: Date, b: Date): boolean {
  return a.getFullYear() === b.getFullYear() && a.getMonth() === b.getMonth() && a.getDate() === b.getDate();
}
