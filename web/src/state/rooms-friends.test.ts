import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Message, Room, RoomEvent } from "../parley-client";
import { clearFriends, displayName, friends, onFriend, onStatus, setFriends } from "./friends";
import { roomTitle } from "./room-name";
import { clearRooms, dropRoom, lastChange, onRead, onRoom, onRoomMessage, roomById, rooms, setRooms } from "./rooms";

const room = (more: Partial<Room> = {}): Room => ({
  roomId: "r1",
  roomName: "One",
  memberCount: 2,
  members: ["me", "mina"],
  lastSeq: 3,
  lastMessage: "three",
  lastAt: "2026-01-01T00:00:03Z",
  unread: 0,
  ...more,
});
const message = (seq: number): Message => ({
  roomId: "r1",
  seq,
  writerId: "mina",
  message: `m${seq}`,
  createdAt: `2026-01-01T00:00:0${seq}Z`,
  requestId: `q${seq}`,
});
const changed = (version: number, more: Partial<RoomEvent> = {}): RoomEvent => ({
  roomId: "r1",
  roomName: "One",
  memberCount: 3,
  members: ["me", "mina", "luca"],
  joined: [],
  left: [],
  seq: 3,
  version,
  ...more,
});

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000 });
  clearRooms();
  clearFriends();
  return () => vi.useRealTimers();
});

describe("rooms", () => {
  it("count what is not read, and each message once", () => {
    setRooms([room()], 1_000);
    expect(onRoomMessage(message(4), false)).toBe(true);
    onRoomMessage(message(4), false);
    onRoomMessage(message(5), true);
    expect(roomById("r1")).toMatchObject({ lastSeq: 5, lastMessage: "m5", unread: 1 });
    onRead("r1", 5);
    expect(roomById("r1")?.unread).toBe(0);
  });

  it("tell of a message in a room that is not known", () => {
    expect(onRoomMessage(message(1), false)).toBe(false);
  });

  it("keep what an event said after the list was asked for", () => {
    setRooms([room()], 900);
    vi.setSystemTime(2_000);
    onRoomMessage(message(4), false);
    setRooms([room()], 1_900);
    expect(roomById("r1")?.lastSeq).toBe(4);
    vi.setSystemTime(3_000);
    setRooms([room({ lastSeq: 4, unread: 0 })], 2_900);
    expect(roomById("r1")?.unread).toBe(0);
    setRooms([], 3_000);
    expect(rooms.value).toEqual([]);
  });

  it("take changes of membership by version, and go when I leave", () => {
    setRooms([room()], 1_000);
    onRoom(changed(5), "me");
    onRoom(changed(4, { memberCount: 9 }), "me");
    expect(roomById("r1")).toMatchObject({ memberCount: 3, lastMessage: "three" });
    expect(onRoom(changed(6, { left: ["me"], members: ["mina"] }), "me")).toBe(true);
    expect(roomById("r1")).toBeUndefined();
  });

  it("that were left do not come back by a list that was asked for before, and do by being added again", () => {
    setRooms([room()], 900);
    onRoom(changed(5), "me");
    dropRoom("r1");
    setRooms([room()], 999);
    expect(roomById("r1")).toBeUndefined();
    vi.setSystemTime(2_000);
    onRoom(changed(7, { joined: ["me"] }), "me");
    expect(roomById("r1")).toMatchObject({ memberCount: 3 });
    setRooms([room()], 1_500);
    expect(roomById("r1")).toBeDefined();
  });

  it("tell who has joined or left until somebody writes", () => {
    setRooms([room()], 900);
    onRoom(changed(5, { joined: ["luca"] }), "me");
    expect(lastChange.value).toEqual({ roomId: "r1", joined: ["luca"], left: [] });
    onRoom(changed(6, { left: ["luca"], members: ["me", "mina"] }), "me");
    expect(lastChange.value?.left).toEqual(["luca"]);
    onRoomMessage(message(4), false);
    expect(lastChange.value).toBeUndefined();
  });

  it("stand with the newest message first", () => {
    setRooms([room({ roomId: "a", lastAt: null }), room({ roomId: "b", lastAt: "2026-01-01T00:00:01Z" }), room({ roomId: "c" })], 1_000);
    expect(rooms.value.map((r) => r.roomId)).toEqual(["c", "b", "a"]);
  });
});

describe("a room's name", () => {
  const title = (roomName: string, members: string[], memberCount = members.length) =>
    roomTitle(room({ roomName, members, memberCount }), "me", "Room");

  it("is the given one, or the names of the others", () => {
    setFriends([{ userId: "mina", userName: "Mina", userStatus: "" }], 1_000);
    expect(title("Lunch", ["me", "mina"])).toBe("Lunch");
    expect(title("me, mina", ["me", "mina"])).toBe("Mina");
    expect(title("me, mina", ["luca", "me", "mina"])).toBe("luca, Mina");
    expect(title("aa, bb, cc, …", ["aa", "bb", "cc", "dd", "ee", "me"])).toBe("aa, bb, cc, dd, …");
    expect(title("", [], 0)).toBe("Room");
    expect(title("me", ["me"])).toBe("me");
  });
});

describe("friends", () => {
  const mina = { userId: "mina", userName: "Mina", userStatus: "" };

  it("stand by name, and are called by it", () => {
    setFriends([mina, { userId: "luca", userName: "Luca", userStatus: "" }], 1_000);
    expect(friends.value.map((f) => f.userId)).toEqual(["luca", "mina"]);
    expect([displayName("mina"), displayName("stranger")]).toEqual(["Mina", "stranger"]);
  });

  it("change their status by version, and keep it over an older list", () => {
    setFriends([mina], 900);
    vi.setSystemTime(2_000);
    onStatus("mina", "away", 2);
    onStatus("mina", "older", 1);
    setFriends([mina], 1_900);
    expect(friends.value[0]?.userStatus).toBe("away");
  });

  it("come by an event, also while a list without them is under way", () => {
    onFriend(mina, 1);
    onFriend({ ...mina, userName: "Old" }, 1);
    setFriends([], 500);
    expect(friends.value).toMatchObject([{ userId: "mina", userName: "Mina" }]);
  });
});
