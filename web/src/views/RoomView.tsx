import { useEffect, useState } from "preact/hooks";
import { reason, t } from "../i18n";
import { conversation } from "../state/conversations";
import { displayName } from "../state/friends";
import { roomTitle } from "../state/room-name";
import { lastChange, roomById } from "../state/rooms";
import { me } from "../state/session";
import { AddMembers } from "./AddMembers";
import { BackLink } from "./BackLink";
import { ConnectionNote } from "./ConnectionBadge";
import { Composer } from "./Composer";
import { Icon } from "./Icon";
import { LeaveRoom } from "./LeaveRoom";
import { MessageList } from "./MessageList";
import { useTitle } from "./use-place";

/** One room: who is in it, what was said, and the place to write. */
export function RoomView({ roomId }: { roomId: string }) {
  const user = me.value?.userId ?? "";
  const talk = conversation(roomId, user);
  const room = roomById(roomId);
  const [adding, setAdding] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const title = room === undefined ? t("rooms.unnamed") : roomTitle(room, user, t("rooms.unnamed"));
  const failed = talk.reading.value === "failed" && talk.log.lastSeq === undefined ? talk.error.value : undefined;
  useTitle(title);
  useEffect(() => {
    void talk.open();
  }, [talk]);

  return (
    <div class="room-view">
      <header class="room-head">
        <BackLink />
        <div class="room-title">
          <h1 dir="auto" tabIndex={-1}>
            {title}
          </h1>
          {room !== undefined && (
            <p class="quiet" title={room.members.join(", ")}>
              {t("room.members", { n: room.memberCount })} · {room.members.map((m) => (m === user ? t("room.you") : displayName(m))).join(", ")}
            </p>
          )}
        </div>
        <ConnectionNote />
        {room !== undefined && (
          <div class="row">
            <button type="button" class="compact" data-testid="room-add" title={t("room.add")} aria-expanded={adding} onClick={() => setAdding(!adding)}>
              <Icon name="add" />
              <span>{t("room.add")}</span>
            </button>
            <button type="button" class="compact" data-testid="room-leave" title={t("room.leave")} aria-haspopup="dialog" onClick={() => setLeaving(true)}>
              <Icon name="leave" />
              <span>{t("room.leave")}</span>
            </button>
          </div>
        )}
      </header>
      {leaving && room !== undefined && <LeaveRoom room={room} title={title} onClose={() => setLeaving(false)} />}
      {adding && room !== undefined && <AddMembers room={room} onDone={() => setAdding(false)} />}
      {failed === undefined ? (
        <MessageList talk={talk} title={title} me={user} />
      ) : (
        <div class="welcome" role="alert">
          <p class="note bad">
            {failed.code === "not_a_member" || failed.code === "room_not_found"
              ? t("room.unknown")
              : `${t("room.failed")} ${reason(failed)}`}
          </p>
          <button type="button" onClick={() => void talk.open()}>
            {t("req.retry")}
          </button>
        </div>
      )}
      <MembersNotice roomId={roomId} />
      <Composer key={roomId} talk={talk} title={title} disabled={failed !== undefined} />
    </div>
  );
}

/** Who has joined or left while one looks on. */
function MembersNotice({ roomId }: { roomId: string }) {
  const change = lastChange.value;
  const told = change?.roomId === roomId ? change : undefined;
  const names = (ids: readonly string[]) => ids.map(displayName).join(", ");
  return (
    <p class="members-notice quiet" role="status" data-testid="members-notice">
      {told !== undefined && told.joined.length > 0 && t("room.joined", { names: names(told.joined) })}
      {told !== undefined && told.left.length > 0 && ` ${t("room.left", { names: names(told.left) })}`}
    </p>
  );
}
