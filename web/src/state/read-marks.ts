import { parley } from "./client";
import { onRead } from "./rooms";

/** How far I have read, by room, and how much of it the server has acknowledged. */
const wanted = new Map<string, number>();
const sent = new Map<string, number>();
let timer: ReturnType<typeof setTimeout> | undefined;

/** Marks are sent together after this; a fast conversation needs no call a message. */
const gatherMs = 400;

/** Says that a room has been read up to `seq`; the highest wins. */
export function markRead(roomId: string, seq: number): void {
  onRead(roomId, seq);
  if (seq <= (wanted.get(roomId) ?? 0)) return;
  wanted.set(roomId, seq);
  parley.stream.note({ read: roomId, seq });
  sendSoon();
}

/** After the rooms were read again: what I have read stays read, and marks that did not arrive are sent again. */
export function repeatReadMarks(): void {
  for (const [roomId, seq] of wanted) onRead(roomId, seq);
  sendSoon();
}

export function clearReadMarks(): void {
  wanted.clear();
  sent.clear();
}

function sendSoon(): void {
  timer ??= setTimeout(() => {
    timer = undefined;
    void send();
  }, gatherMs);
}

async function send(): Promise<void> {
  for (const [roomId, seq] of wanted) {
    if (seq <= (sent.get(roomId) ?? 0)) continue;
    try {
      await parley.markRead(roomId, seq);
      sent.set(roomId, Math.max(seq, sent.get(roomId) ?? 0));
    } catch {
      // Only a count depends on it; the next mark, or the next reading of the rooms, repeats it.
    }
  }
}
