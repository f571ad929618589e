import { chooseLanguage, language, t, type Language } from "../i18n";

const names: readonly [Language, string][] = [
  ["en", "English"],
  ["ko", "한국어"],
];

/** English or Korean; each is named in itself. */
export function LanguageSwitch() {
  return (
    <div class="languages" role="group" aria-label={t("app.language")}>
      {names.map(([code, name]) => (
        <button
          key={code}
          type="button"
          lang={code}
          aria-pressed={language.value === code}
          data-testid={`language-${code}`}
          onClick={() => chooseLanguage(code)}
        >
          {name}
        </button>
      ))}
    </div>
  );
}
