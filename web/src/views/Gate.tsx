import type { ComponentChildren } from "preact";
import { t } from "../i18n";
import { LanguageSwitch } from "./LanguageSwitch";
import { Logo } from "./Logo";
import { useTitle } from "./use-place";

/** The frame of login and sign-up. */
export function Gate({ title, children }: { title: string; children: ComponentChildren }) {
  useTitle(title);
  return (
    <main class="gate">
      <header class="gate-head">
        <Logo />
        <p class="quiet">{t("app.tagline")}</p>
      </header>
      <section class="card" aria-labelledby="gate-title">
        <h1 id="gate-title">{title}</h1>
        {children}
      </section>
      <LanguageSwitch />
    </main>
  );
}
