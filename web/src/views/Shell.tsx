import { t } from "../i18n";
import { route } from "../state/route";
import { Announcer } from "./Announcer";
import { ConnectionBadge } from "./ConnectionBadge";
import { FriendsPane } from "./FriendsPane";
import { Link } from "./Link";
import { Logo } from "./Logo";
import { MePane } from "./MePane";
import { NewRoom } from "./NewRoom";
import { RoomsPane } from "./RoomsPane";
import { RoomView } from "./RoomView";
import { Welcome } from "./Welcome";

/**
 * The signed-in page: rooms, the open one, and people. All three stand side by side where there is room; on a
 * phone the address says which one is seen, and the bar at the bottom goes between them.
 */
export function Shell() {
  const at = route.value;
  const main = at.view === "room" || at.view === "new-room" || at.view === "unknown";
  return (
    <div class="shell" data-view={main ? "main" : at.view}>
      <button type="button" class="skip" onClick={() => document.getElementById("main")?.focus()}>
        {t("app.skip")}
      </button>
      <header class="top">
        <Link to={{ view: "home" }} class="top-logo">
          <Logo />
        </Link>
        <ConnectionBadge />
      </header>
      <aside class="pane rooms-pane" aria-label={t("rooms.title")}>
        <RoomsPane />
      </aside>
      <main id="main" class="pane main-pane" tabIndex={-1}>
        {at.view === "room" ? (
          <RoomView key={at.roomId} roomId={at.roomId} />
        ) : at.view === "new-room" ? (
          <NewRoom key={at.friend ?? ""} friend={at.friend} />
        ) : (
          <Welcome unknown={at.view === "unknown"} />
        )}
      </main>
      <aside class="pane people-pane" aria-label={t("friends.title")}>
        <MePane />
        <FriendsPane />
      </aside>
      <nav class="tabs" aria-label={t("nav.main")}>
        <Link to={{ view: "home" }} aria-current={main || at.view === "home" ? "page" : false} data-testid="nav-rooms">
          {t("nav.rooms")}
        </Link>
        <Link to={{ view: "friends" }} aria-current={at.view === "friends" ? "page" : false} data-testid="nav-friends">
          {t("nav.friends")}
        </Link>
        <Link to={{ view: "me" }} aria-current={at.view === "me" ? "page" : false} data-testid="nav-me">
          {t("nav.me")}
        </Link>
      </nav>
      <Announcer />
    </div>
  );
}
