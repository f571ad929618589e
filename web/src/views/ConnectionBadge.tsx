import { t } from "../i18n";
import { connection } from "../state/connection";

/** The connection's state as it is, in a word; the tooltip says what it means. */
export function ConnectionBadge() {
  const state = connection.value;
  if (state === undefined) return null;
  return (
    <p class="connection" data-testid="connection" data-state={state} title={t(`conn.help.${state}`)}>
      <span class="connection-dot" aria-hidden="true" />
      {t(`conn.${state}`)}
    </p>
  );
}

/** The same within a room on a phone, where the top bar is not seen: only what is not as it should be. */
export function ConnectionNote() {
  const state = connection.value;
  if (state === undefined || state === "live") return null;
  return (
    <p class="connection connection-note" data-state={state} title={t(`conn.help.${state}`)}>
      <span class="connection-dot" aria-hidden="true" />
      <span class="unseen">{t(`conn.${state}`)}</span>
    </p>
  );
}
