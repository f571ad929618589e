import { useState } from "preact/hooks";
import { t } from "../i18n";
import { parley } from "../state/client";
import { idsIn, userIdFault } from "../state/validate";
import { RequestNote } from "./RequestNote";
import { useSend } from "./use-send";

const mostIds = 100;

/** Adds friends by their ids, several at once, with one result for each. */
export function AddFriends() {
  const [text, setText] = useState("");
  const [fault, setFault] = useState<string>();
  const { request, busy, send, retry } = useSend(
    (ids: string[], key?: string) => parley.addFriends(ids, key),
    () => setText(""), // Otherwise the note says why, and the text stays.
  );

  const submit = (event: Event) => {
    event.preventDefault();
    const ids = idsIn(text);
    const wrong = ids.find((id) => userIdFault(id) !== undefined);
    if (ids.length === 0) setFault(t("valid.required"));
    else if (wrong !== undefined) setFault(`“${wrong}”: ${t("valid.user")}`);
    else if (ids.length > mostIds) setFault(t("valid.ids"));
    else {
      setFault(undefined);
      send(ids);
    }
  };
  const results = request?.phase === "done" ? (request.reply?.friendId ?? []) : [];

  return (
    <form class="add-friends" onSubmit={submit}>
      <label for="add-friend-input">{t("friends.add")}</label>
      <div class="row">
        <input
          id="add-friend-input"
          data-testid="add-friend-input"
          value={text}
          placeholder={t("friends.addExample")}
          aria-describedby="add-friend-hint"
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          aria-invalid={fault !== undefined}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit" data-testid="add-friend-submit" disabled={busy}>
          {t("friends.addSubmit")}
        </button>
      </div>
      <p id="add-friend-hint" class={fault === undefined ? "hint" : "fault"} role={fault === undefined ? undefined : "alert"}>
        {fault ?? t("friends.addHint")}
      </p>
      <RequestNote request={request} onRetry={retry} />
      {results.length > 0 && (
        <ul class="results" role="status" data-testid="add-friend-results">
          {results.map((one) => (
            <li key={one.userId} data-testid="add-friend-result" data-user={one.userId} data-result={one.result}>
              <strong>{one.userId}</strong> {t(`friends.result.${one.result}`)}
            </li>
          ))}
        </ul>
      )}
    </form>
  );
}
