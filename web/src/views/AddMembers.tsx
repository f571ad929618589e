import { useState } from "preact/hooks";
import { t } from "../i18n";
import type { Room, TrackedRequest } from "../parley-client";
import { parley } from "../state/client";
import { friends } from "../state/friends";
import { FriendPicker } from "./FriendPicker";
import { RequestNote } from "./RequestNote";
import { isBusy, useRequest } from "./use-request";

/** Adds friends to a room of mine. */
export function AddMembers({ room, onDone }: { room: Room; onDone: () => void }) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [started, setStarted] = useState<TrackedRequest<"AddRoom">>();
  const request = useRequest(started);
  const others = friends.value.filter((friend) => !room.members.includes(friend.userId));
  const send = (key?: string) => {
    const made = parley.addMembers(room.roomId, [...chosen], key);
    setStarted(made);
    void made.result.then(onDone, () => undefined);
  };
  return (
    <form
      class="add-members"
      onSubmit={(event) => {
        event.preventDefault();
        if (chosen.size > 0 && !isBusy(request)) send();
      }}
    >
      {others.length === 0 ? <p class="quiet">{t("room.addNone")}</p> : <FriendPicker friends={others} chosen={chosen} onChosen={setChosen} />}
      <RequestNote
        request={request}
        onRetry={() => {
          if (request !== undefined) send(request.keyForRetry());
        }}
      />
      <div class="row">
        <button type="submit" class="primary" disabled={chosen.size === 0 || isBusy(request)} data-testid="room-add-submit">
          {t("room.addSubmit")}
        </button>
        <button type="button" onClick={onDone}>
          {t("app.close")}
        </button>
      </div>
    </form>
  );
}
