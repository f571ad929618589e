import { t } from "../i18n";
import { friends, friendsRead } from "../state/friends";
import { AddFriends } from "./AddFriends";
import { Avatar } from "./Avatar";
import { Icon } from "./Icon";
import { Link } from "./Link";
import { Waiting } from "./Waiting";

/** My friends with their statuses, and the form that adds more. */
export function FriendsPane() {
  const list = friends.value;
  return (
    <section class="friends" aria-labelledby="friends-title">
      <header class="pane-head">
        <h2 id="friends-title">{t("friends.title")}</h2>
        <span class="count" aria-hidden="true">
          {list.length}
        </span>
      </header>
      <AddFriends />
      {!friendsRead.value ? (
        <Waiting text={t("app.loading")} />
      ) : (
        list.length === 0 && <p class="quiet empty">{t("friends.empty")}</p>
      )}
      <ul class="list" data-testid="friends">
        {list.map((friend) => (
          <li key={friend.userId} class="person" data-testid="friend" data-user={friend.userId}>
            <Avatar id={friend.userId} name={friend.userName || friend.userId} />
            <div class="person-text">
              <span class="person-name">
                <strong dir="auto">{friend.userName || friend.userId}</strong> <span class="quiet">@{friend.userId}</span>
              </span>
              <span class="quiet status" dir="auto" data-testid="friend-status">
                {friend.userStatus || t("friends.noStatus")}
              </span>
            </div>
            <Link
              to={{ view: "new-room", friend: friend.userId }}
              class="icon-button"
              data-testid="friend-message"
              aria-label={t("friends.message", { name: friend.userName || friend.userId })}
              title={t("friends.message", { name: friend.userName || friend.userId })}
            >
              <Icon name="message" />
            </Link>
          </li>
        ))}
      </ul>
    </section>
  );
}
