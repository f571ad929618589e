import type { Friend } from "../parley-client";
import { Avatar } from "./Avatar";

interface Props {
  friends: readonly Friend[];
  chosen: ReadonlySet<string>;
  onChosen: (chosen: ReadonlySet<string>) => void;
}

/** Friends with a checkbox each. */
export function FriendPicker({ friends, chosen, onChosen }: Props) {
  const toggle = (userId: string) => {
    const next = new Set(chosen);
    if (!next.delete(userId)) next.add(userId);
    onChosen(next);
  };
  return (
    <ul class="picker">
      {friends.map((friend) => (
        <li key={friend.userId}>
          <label>
            <input
              type="checkbox"
              data-testid="new-room-friend"
              data-user={friend.userId}
              checked={chosen.has(friend.userId)}
              onChange={() => toggle(friend.userId)}
            />
            <Avatar id={friend.userId} name={friend.userName || friend.userId} small />
            <span dir="auto">{friend.userName || friend.userId}</span> <span class="quiet">@{friend.userId}</span>
          </label>
        </li>
      ))}
    </ul>
  );
}
