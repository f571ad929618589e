import { t } from "../i18n";
import { connection } from "../state/connection";
import { displayName } from "../state/friends";
import { route } from "../state/route";
import { lastArrival } from "../state/sync";

/**
 * What screen readers are told as it happens: the messages of others in the open room, and the connection's
 * state when it is not live. The list itself is no live region, since scrolling through history adds to it too.
 */
export function Announcer() {
  const arrival = lastArrival.value;
  const at = route.value;
  const here = arrival !== undefined && at.view === "room" && at.roomId === arrival.roomId;
  const state = connection.value;
  return (
    <div class="unseen">
      <p role="log" aria-live="polite">
        {here ? t("room.said", { name: displayName(arrival.writerId), text: arrival.message }) : ""}
      </p>
      <p role="status">{state === undefined || state === "live" ? "" : t(`conn.help.${state}`)}</p>
    </div>
  );
}
