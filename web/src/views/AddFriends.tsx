import { useState } from "preact/hooks";
import { t } from "../i18n";
import type { TrackedRequest } from "../parley-client";
import { parley } from "../state/client";
import { idsIn, userIdFault } from "../state/validate";
import { RequestNote } from "./RequestNote";
import { isBusy, useRequest } from "./use-request";

const mostIds = 100;

/** Adds friends by their ids, several at once, with one result for each. */
export function AddFriends() {
  const [text, setText] = useState("");
  const [fault, setFault] = useState<string>();
  const [started, setStarted] = useState<TrackedRequest<"AddFriend">>();
  const request = useRequest(started);
  const [sent, setSent] = useState<string[]>([]);

  const send = (ids: string[], key?: string) => {
    setSent(ids);
    const made = parley.addFriends(ids, key);
    setStarted(made);
    void made.result.then(
      () => setText(""),
      () => undefined, // The note says why, and the text stays.
    );
  };
  const submit = (event: Event) => {
    event.preventDefault();
    if (isBusy(request)) return;
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
        <button type="submit" data-testid="add-friend-submit" disabled={isBusy(request)}>
          {t("friends.addSubmit")}
        </button>
      </div>
      <p id="add-friend-hint" class={fault === undefined ? "hint" : "fault"} role={fault === undefined ? undefined : "alert"}>
        {fault ?? t("friends.addHint")}
      </p>
      <RequestNote
        request={request}
        onRetry={() => {
          if (request !== undefined) send(sent, request.keyForRetry());
        }}
      />
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
