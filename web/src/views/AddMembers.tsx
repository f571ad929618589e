import { useState } from "preact/hooks";
import { t } from "../i18n";
import type { Room } from "../parley-client";
import { parley } from "../state/client";
import { friends } from "../state/friends";
import { FriendPicker } from "./FriendPicker";
import { RequestNote } from "./RequestNote";
import { useSend } from "./use-send";

/** Adds friends to a room of mine. */
export function AddMembers({ room, onDone }: { room: Room; onDone: () => void }) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const { request, busy, send, retry } = useSend((ids: string[], key?: string) => parley.addMembers(room.roomId, ids, key), onDone);
  const others = friends.value.filter((friend) => !room.members.includes(friend.userId));
  return (
    <form
      class="add-members"
      onSubmit={(event) => {
        event.preventDefault();
        if (chosen.size > 0) send([...chosen]);
      }}
    >
      {others.length === 0 ? <p class="quiet">{t("room.addNone")}</p> : <FriendPicker friends={others} chosen={chosen} onChosen={setChosen} />}
      <RequestNote request={request} onRetry={retry} />
      <div class="row">
        <button type="submit" class="primary" disabled={chosen.size === 0 || busy} data-testid="room-add-submit">
          {t("room.addSubmit")}
        </button>
        <button type="button" onClick={onDone}>
          {t("app.close")}
        </button>
      </div>
    </form>
  );
}
