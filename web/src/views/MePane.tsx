import { useState } from "preact/hooks";
import { t } from "../i18n";
import type { TrackedRequest } from "../parley-client";
import { parley } from "../state/client";
import { logOut, me } from "../state/session";
import { statusFault } from "../state/validate";
import { Avatar } from "./Avatar";
import { LanguageSwitch } from "./LanguageSwitch";
import { RequestNote } from "./RequestNote";
import { isBusy, useRequest } from "./use-request";
import { useSend } from "./use-send";

/** Who I am, my status, and the ways out. */
export function MePane() {
  const user = me.value;
  const [leaving, setLeaving] = useState<TrackedRequest<"Logout">>();
  const logout = useRequest(leaving);
  if (user === undefined) return null;
  return (
    <section class="me" aria-label={t("me.title")}>
      <div class="person">
        <Avatar id={user.userId} name={user.userName} />
        <div class="person-text">
          <strong data-testid="me-name">{user.userName}</strong>
          <span class="quiet">@{user.userId}</span>
        </div>
      </div>
      <StatusForm current={user.userStatus} />
      <div class="row">
        <button type="button" data-testid="logout" disabled={isBusy(logout)} onClick={() => setLeaving(logOut(false))}>
          {t("me.logout")}
        </button>
        <button type="button" data-testid="logout-everywhere" disabled={isBusy(logout)} onClick={() => setLeaving(logOut(true))}>
          {t("me.logoutAll")}
        </button>
      </div>
      <RequestNote request={logout} />
      <LanguageSwitch />
    </section>
  );
}

function StatusForm({ current }: { current: string }) {
  // Undefined: what is shown is what the server holds, and follows it.
  const [draft, setDraft] = useState<string>();
  const { request, busy, send, retry } = useSend(
    (text: string, key?: string) => parley.changeStatus(text.trim(), key),
    // Otherwise the note says why, and the draft stays.
    (_reply, text) => setDraft((now) => (now === text ? undefined : now)),
  );
  const fault = draft === undefined ? undefined : statusFault(draft);
  return (
    <form
      class="status-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (fault === undefined) send(draft ?? current);
      }}
    >
      <label for="status-input">{t("me.status")}</label>
      <div class="row">
        <input
          id="status-input"
          data-testid="status-input"
          value={draft ?? current}
          placeholder={t("me.statusPlaceholder")}
          autocomplete="off"
          aria-invalid={fault !== undefined}
          onInput={(event) => setDraft(event.currentTarget.value)}
        />
        <button type="submit" data-testid="status-submit" disabled={busy}>
          {t("me.statusSave")}
        </button>
      </div>
      {fault !== undefined && <p class="fault">{t(fault)}</p>}
      <RequestNote request={request} done={t("me.statusSaved")} onRetry={retry} />
    </form>
  );
}
