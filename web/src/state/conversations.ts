import type { Message } from "../parley-client";
import { Conversation } from "./conversation";

/** Conversations kept in memory, the least recently opened first. */
const kept = new Map<string, Conversation>();
/** Enough to go back and forth without reading again; each holds the pages that were scrolled through. */
const mostKept = 12;

/** The conversation of a room, made when there is none yet. */
export function conversation(roomId: string, me: string): Conversation {
  const found = kept.get(roomId) ?? new Conversation(roomId, me);
  kept.delete(roomId);
  kept.set(roomId, found);
  for (const [id, old] of kept) {
    if (kept.size <= mostKept) break;
    if (!old.busy && id !== roomId) kept.delete(id);
  }
  return found;
}

export function liveMessage(message: Message): void {
  kept.get(message.roomId)?.live(message);
}

/** After an interruption: the open room catches up at once, the others read again when they are opened. */
export async function catchUpConversations(openRoom: string | undefined): Promise<void> {
  for (const [id, held] of kept) if (id !== openRoom) held.reset();
  if (openRoom !== undefined) await kept.get(openRoom)?.catchUp();
}

/** Forgets a room that was left: after a return another part of it may be seen. */
export function dropConversation(roomId: string): void {
  kept.delete(roomId);
}

export function clearConversations(): void {
  kept.clear();
}
