import { signal } from "@preact/signals";
import type { ParleyError } from "../parley-client";
import { en } from "./en";
import { ko } from "./ko";

export type Language = "en" | "ko";
export type TextKey = keyof typeof en;

const texts: Record<Language, Record<TextKey, string>> = { en, ko };
const storageKey = "parley.language";

/** The language in use: chosen before, else the first one of the browser's that there are texts for. */
export const language = signal<Language>(initial());

export function chooseLanguage(chosen: Language): void {
  language.value = chosen;
  try {
    localStorage.setItem(storageKey, chosen);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
}

/** The text of a key. `vars.n` also chooses the plural form. */
export function t(key: TextKey, vars?: Record<string, string | number>): string {
  return fill(texts[language.value][key], language.value, vars);
}

/** Fills a text; forms before `#` are separated by `|`: the first for one, the last for others. */
export function fill(text: string, lang: Language, vars?: Record<string, string | number>): string {
  let chosen = text;
  if (text.endsWith("#")) {
    const [one = "", other = one] = text.slice(0, -1).split("|");
    chosen = new Intl.PluralRules(lang).select(Number(vars?.["n"] ?? 0)) === "one" ? one : other;
  }
  return chosen.replaceAll(/\{(\w+)\}/gu, (whole, name: string) => {
    const value = vars?.[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? new Intl.NumberFormat(lang).format(value) : value;
  });
}

/** Why something failed, in plain words. */
export function reason(error: ParleyError | undefined): string {
  if (error === undefined) return t("err.internal");
  if (error.code === "rate_limited" && error.retryAfterMs !== undefined) {
    return t("err.rate_limited_for", { n: Math.max(1, Math.ceil(error.retryAfterMs / 1000)) });
  }
  return t(`err.${error.code}`);
}

function initial(): Language {
  try {
    const stored = localStorage.getItem(storageKey);
    if (stored === "en" || stored === "ko") return stored;
  } catch {
    // As above.
  }
  const preferred = globalThis.navigator?.languages ?? [];
  for (const tag of preferred) {
    if (tag.startsWith("ko")) return "ko";
    if (tag.startsWith("en")) return "en";
  }
  return "en";
}
