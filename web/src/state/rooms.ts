import { computed, signal } from "@preact/signals";
import { Versions, type Message, type Room, type RoomEvent } from "../parley-client";

interface Held extends Room {
  /** When an event last changed it, by this page's clock. */
  touchedAt: number;
}

const held = signal<ReadonlyMap<string, Held>>(new Map());
const versions = new Versions();
/** When rooms were left, by this page's clock. */
const leftAt = new Map<string, number>();

/** The newest change of a room's members that was heard of, until somebody writes there. */
export const lastChange = signal<{ roomId: string; joined: readonly string[]; left: readonly string[] } | undefined>(undefined);

/** Whether the list has been read at least once. */
export const roomsRead = signal(false);

/** The rooms, the one with the newest message first; one that was just opened counts by when that was heard of. */
export const rooms = computed<readonly Room[]>(() =>
  [...held.value.values()].toSorted((a, b) => newest(b).localeCompare(newest(a)) || a.roomId.localeCompare(b.roomId)),
);

function newest(room: Held): string {
  if (room.lastAt !== null) return room.lastAt;
  return room.touchedAt > 0 ? new Date(room.touchedAt).toISOString() : "";
}

export const totalUnread = computed(() => rooms.value.reduce((sum, room) => sum + room.unread, 0));

export function roomById(roomId: string): Room | undefined {
  return held.value.get(roomId);
}

function put(room: Held): void {
  held.value = new Map(held.value).set(room.roomId, room);
}

/** Takes a list that was asked for at `askedAt`. What an event said since then is newer and stays. */
export function setRooms(list: readonly Room[], askedAt: number): void {
  const next = new Map<string, Held>();
  for (const room of list) {
    // It was left after this list was asked for, or while it was under way.
    if ((leftAt.get(room.roomId) ?? -1) >= askedAt) continue;
    const known = held.value.get(room.roomId);
    const newer = known !== undefined && known.touchedAt >= askedAt && known.lastSeq >= room.lastSeq;
    next.set(room.roomId, newer ? known : { ...room, touchedAt: known?.touchedAt ?? 0 });
  }
  for (const known of held.value.values()) {
    if (known.touchedAt >= askedAt && !next.has(known.roomId)) next.set(known.roomId, known);
  }
  held.value = next;
  roomsRead.value = true;
}

/** Takes a message into the list. False when the room is not known, so that the list must be read again. */
export function onRoomMessage(message: Message, mine: boolean): boolean {
  const room = held.value.get(message.roomId);
  if (room === undefined) return false;
  if (message.seq <= room.lastSeq) return true;
  if (lastChange.value?.roomId === message.roomId) lastChange.value = undefined;
  put({
    ...room,
    lastSeq: message.seq,
    lastMessage: message.message,
    lastAt: message.createdAt,
    unread: mine ? room.unread : room.unread + 1,
    touchedAt: Date.now(),
  });
  return true;
}

/** Takes a change of membership. Returns true when `me` has left by it. */
export function onRoom(event: RoomEvent, me: string): boolean {
  if (!versions.accept(event.roomId, event.version)) return false;
  if (event.left.includes(me)) {
    dropRoom(event.roomId);
    return true;
  }
  leftAt.delete(event.roomId);
  const known = held.value.get(event.roomId);
  put({
    roomId: event.roomId,
    roomName: event.roomName,
    memberCount: event.memberCount,
    members: event.members,
    lastSeq: Math.max(known?.lastSeq ?? 0, event.seq),
    lastMessage: known?.lastMessage ?? null,
    lastAt: known?.lastAt ?? null,
    unread: known?.unread ?? 0,
    touchedAt: Date.now(),
  });
  const joined = event.joined.filter((userId) => userId !== me);
  // Whoever opens a room, or comes into it, needs not be told who is there.
  if (known !== undefined) lastChange.value = { roomId: event.roomId, joined, left: event.left };
  return false;
}

/** Takes a room that was left out of the list. */
export function dropRoom(roomId: string): void {
  leftAt.set(roomId, Date.now());
  const next = new Map(held.value);
  next.delete(roomId);
  held.value = next;
}

/** Everything up to `seq` has been read, here or in another tab. */
export function onRead(roomId: string, seq: number): void {
  const room = held.value.get(roomId);
  if (room === undefined || room.unread === 0) return;
  const unread = Math.min(room.unread, Math.max(0, room.lastSeq - seq));
  put({ ...room, unread, touchedAt: Date.now() });
}

export function clearRooms(): void {
  held.value = new Map();
  versions.clear();
  leftAt.clear();
  lastChange.value = undefined;
  roomsRead.value = false;
}
