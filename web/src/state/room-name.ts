import type { Room } from "../parley-client";
import { displayName } from "./friends";

/** Names told before the rest is only counted. */
const mostNames = 4;

/** The members without me. */
export function othersIn(room: Room, me: string | undefined): string[] {
  return room.members.filter((member) => member !== me);
}

/**
 * A room's name. One that nobody gave it, which the server makes of its members' ids, is told by the names of the others;
 * `fallback` is for a room without any.
 */
export function roomTitle(room: Room, me: string | undefined, fallback: string): string {
  const given = room.roomName.trim();
  if (given !== "" && !isMadeOfIds(given, room.members)) return given;
  const others = othersIn(room, me).map(displayName);
  if (others.length === 0) return given === "" ? fallback : given;
  return others.slice(0, mostNames).join(", ") + (room.memberCount - 1 > mostNames ? ", …" : "");
}

/** Whether a name is a list of members' ids, perhaps cut short, and nothing else. */
function isMadeOfIds(name: string, members: readonly string[]): boolean {
  const parts = name.split(", ").filter((part) => part !== "…");
  return parts.every((part) => members.includes(part));
}
