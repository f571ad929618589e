import { useState } from "preact/hooks";
import { t } from "../i18n";
import { parley } from "../state/client";
import { friends, friendsRead } from "../state/friends";
import { go } from "../state/route";
import { nameFault } from "../state/validate";
import { BackLink } from "./BackLink";
import { Field } from "./Field";
import { FriendPicker } from "./FriendPicker";
import { RequestNote } from "./RequestNote";
import { useArrival, useTitle } from "./use-place";
import { useSend } from "./use-send";

/** Opens a room with chosen friends. Opening one with the same single friend again leads to the room that is there. */
export function NewRoom({ friend }: { friend: string | undefined }) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set(friend === undefined ? [] : [friend]));
  const [name, setName] = useState("");
  const [tried, setTried] = useState(false);
  const { request, busy, send, retry } = useSend(
    ({ ids, roomName }: { ids: string[]; roomName: string | undefined }, key?: string) => parley.openRoom(ids, roomName, key),
    (reply) => {
      if (typeof reply.roomId === "string") go({ view: "room", roomId: reply.roomId }, true);
    },
  );
  const heading = useArrival();
  useTitle(t("newRoom.title"));
  const wrongName = name.trim() === "" ? undefined : nameFault(name);

  const submit = (event: Event) => {
    event.preventDefault();
    setTried(true);
    if (chosen.size === 0 || wrongName !== undefined) return;
    send({ ids: [...chosen], roomName: name.trim() === "" ? undefined : name.trim() });
  };

  return (
    <div class="sheet">
      <header class="sheet-head">
        <BackLink />
        <h1 ref={heading} tabIndex={-1}>
          {t("newRoom.title")}
        </h1>
      </header>
      <form onSubmit={submit} noValidate>
        <fieldset>
          <legend>{t("newRoom.who")}</legend>
          {friendsRead.value && friends.value.length === 0 && <p class="quiet">{t("newRoom.noFriends")}</p>}
          <FriendPicker friends={friends.value} chosen={chosen} onChosen={setChosen} />
          <p class="hint" role="status">
            {t("newRoom.chosen", { n: chosen.size })}
          </p>
          {tried && chosen.size === 0 && (
            <p class="fault" role="alert">
              {t("newRoom.chooseOne")}
            </p>
          )}
        </fieldset>
        <Field
          label={t("newRoom.name")}
          hint={t("newRoom.nameHint")}
          value={name}
          onValue={setName}
          testId="new-room-name"
          fault={wrongName && t(wrongName)}
          input={{ autocomplete: "off", maxLength: 128 }}
        />
        <RequestNote request={request} onRetry={retry} />
        <button type="submit" class="primary" data-testid="new-room-submit" disabled={busy}>
          {t("newRoom.submit")}
        </button>
      </form>
    </div>
  );
}
