import { reason, t } from "../i18n";
import { brief } from "../i18n/time";
import type { Room } from "../parley-client";
import { readError } from "../state/connection";
import { othersIn, roomTitle } from "../state/room-name";
import { rooms, roomsRead } from "../state/rooms";
import { route } from "../state/route";
import { me } from "../state/session";
import { Avatar } from "./Avatar";
import { Link } from "./Link";
import { Waiting } from "./Waiting";

/** My rooms, the one with the newest message first. */
export function RoomsPane() {
  const list = rooms.value;
  return (
    <section class="rooms" aria-labelledby="rooms-title">
      <header class="pane-head">
        <h2 id="rooms-title">{t("rooms.title")}</h2>
        <Link to={{ view: "new-room", friend: undefined }} class="button" data-testid="new-room">
          {t("rooms.new")}
        </Link>
      </header>
      {readError.value !== undefined && (
        <p class="note bad" role="status" data-testid="read-error">
          {t("lists.stale", { reason: reason(readError.value) })}
        </p>
      )}
      {!roomsRead.value ? (
        <Waiting text={t("app.loading")} />
      ) : (
        list.length === 0 && <p class="quiet empty">{t("rooms.empty")}</p>
      )}
      <ul class="list" data-testid="rooms">
        {list.map((room) => (
          <RoomItem key={room.roomId} room={room} />
        ))}
      </ul>
    </section>
  );
}

function RoomItem({ room }: { room: Room }) {
  const at = route.value;
  const open = at.view === "room" && at.roomId === room.roomId;
  const user = me.value?.userId;
  const title = roomTitle(room, user, t("rooms.unnamed"));
  const [other] = othersIn(room, user);
  return (
    <li>
      <Link
        to={{ view: "room", roomId: room.roomId }}
        class="room-item"
        aria-current={open ? "page" : false}
        data-testid="room"
        data-room={room.roomId}
        data-unread={String(room.unread)}
      >
        <Avatar id={room.memberCount === 2 && other !== undefined ? other : room.roomId} name={title} />
        <span class="room-text">
          <span class="room-line">
            <strong dir="auto">{title}</strong>
            {room.lastAt !== null && <time dateTime={room.lastAt}>{brief(room.lastAt)}</time>}
          </span>
          <span class="room-line">
            <span class="quiet snippet" dir="auto">
              {room.lastMessage ?? t("rooms.noMessages")}
            </span>
            {room.unread > 0 && (
              <span class="badge">
                <span aria-hidden="true">{room.unread > 99 ? "99+" : room.unread}</span>
                <span class="unseen">{t("rooms.unread", { n: room.unread })}</span>
              </span>
            )}
          </span>
        </span>
      </Link>
    </li>
  );
}
