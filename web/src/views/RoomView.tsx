import { useEffect, useState } from "preact/hooks";
import { reason, t } from "../i18n";
import { conversation } from "../state/conversations";
import { displayName } from "../state/friends";
import { roomTitle } from "../state/room-name";
import { roomById } from "../state/rooms";
import { me } from "../state/session";
import { AddMembers } from "./AddMembers";
import { BackLink } from "./BackLink";
import { ConnectionNote } from "./ConnectionBadge";
import { Composer } from "./Composer";
import { MessageList } from "./MessageList";
import { useTitle } from "./use-place";

/** One room: who is in it, what was said, and the place to write. */
export function RoomView({ roomId }: { roomId: string }) {
  const user = me.value?.userId ?? "";
  const talk = conversation(roomId, user);
  const room = roomById(roomId);
  const [adding, setAdding] = useState(false);
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
          <button type="button" data-testid="room-add" aria-expanded={adding} onClick={() => setAdding(!adding)}>
            {t("room.add")}
          </button>
        )}
      </header>
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
      <Composer key={roomId} talk={talk} title={title} disabled={failed !== undefined} />
    </div>
  );
}
