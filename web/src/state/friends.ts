import { computed, signal } from "@preact/signals";
import { Versions, type Friend } from "../parley-client";

interface Held extends Friend {
  /** When a pushed event last changed it, by this page's clock; 0 when only a list told of it. */
  touchedAt: number;
}

const held = signal<ReadonlyMap<string, Held>>(new Map());
const versions = new Versions();

/** Whether the list has been read at least once. */
export const friendsRead = signal(false);

export const friends = computed<readonly Friend[]>(() =>
  [...held.value.values()].toSorted((a, b) => nameOf(a).localeCompare(nameOf(b)) || a.userId.localeCompare(b.userId)),
);

/** A friend's name, else the id itself. */
export function displayName(userId: string): string {
  const friend = held.value.get(userId);
  return friend === undefined ? userId : nameOf(friend);
}

function nameOf(friend: Friend): string {
  return friend.userName === "" ? friend.userId : friend.userName;
}

export function isFriend(userId: string): boolean {
  return held.value.has(userId);
}

/** Takes a list that was asked for at `askedAt`. What an event said since then is newer and stays. */
export function setFriends(list: readonly Friend[], askedAt: number): void {
  const next = new Map<string, Held>();
  for (const friend of list) {
    const known = held.value.get(friend.userId);
    next.set(friend.userId, known !== undefined && known.touchedAt >= askedAt ? known : { ...friend, touchedAt: 0 });
  }
  for (const known of held.value.values()) {
    if (known.touchedAt >= askedAt && !next.has(known.userId)) next.set(known.userId, known);
  }
  held.value = next;
  friendsRead.value = true;
}

export function onFriend(friend: Friend, version: number): void {
  const known = held.value.get(friend.userId);
  // The version is that of the friend's own state: an old one still tells of the friendship.
  if (!versions.accept(friend.userId, version) && known !== undefined) return;
  held.value = new Map(held.value).set(friend.userId, { ...friend, touchedAt: Date.now() });
}

export function onStatus(userId: string, status: string, version: number): void {
  if (!versions.accept(userId, version)) return;
  const known = held.value.get(userId);
  if (known === undefined) return;
  held.value = new Map(held.value).set(userId, { ...known, userStatus: status, touchedAt: Date.now() });
}

export function clearFriends(): void {
  held.value = new Map();
  versions.clear();
  friendsRead.value = false;
}
