import { signal } from "@preact/signals";
import { ParleyError, type StreamEvent } from "../parley-client";
import { parley } from "./client";
import { catchingUp, readError } from "./connection";
import { catchUpConversations, clearConversations, dropConversation, liveMessage } from "./conversations";
import { clearFriends, onFriend, onStatus, setFriends } from "./friends";
import { clearRooms, dropRoom, onRead, onRoom, onRoomMessage, setRooms } from "./rooms";
import { go, route } from "./route";
import { clearReadMarks, repeatReadMarks } from "./read-marks";
import { me, phase, start } from "./session";

/** The newest message that arrived live, for the screen reader's announcements. */
export const lastArrival = signal<{ roomId: string; writerId: string; message: string } | undefined>(undefined);

const firstRetryMs = 1_000;
const longestRetryMs = 15_000;
/** A stream that is not live by then must not keep the page empty. */
const streamPatienceMs = 1_500;

/** Counts sessions: what was asked for in one is nothing to the next. */
let generation = 0;
/** The session in which everything has been read, or is being read. */
let readIn = -1;
let running = false;
let again = false;

/** Wires the pushed events to the state, and starts the session. */
export function startSync(): void {
  parley.events.on(take);
  parley.stream.reread.on(() => {
    if (phase.value === "signed-in") void readAll();
  });
  parley.stream.states.on((state) => {
    // A tab that follows another's stream is told that it is live, not that there is something to read. In the tab that
    // keeps the stream the reading begins right after this, and once is enough.
    if (state === "live") queueMicrotask(readFirst);
  });
  parley.stream.notes.on((note) => {
    if (isReadNote(note)) onRead(note.read, note.seq);
  });
  void start({ entered, gone });
}

function entered(): void {
  generation += 1;
  if (parley.stream.state === "live") readFirst();
  else setTimeout(readFirst, streamPatienceMs);
}

/** Reads everything unless that has begun. */
function readFirst(): void {
  if (phase.value === "signed-in" && readIn !== generation) void readAll();
}

function gone(): void {
  generation += 1;
  clearFriends();
  clearRooms();
  clearConversations();
  clearReadMarks();
}

/** Reads everything that events keep up to date, until it has succeeded. One run at a time. */
async function readAll(): Promise<void> {
  readIn = generation;
  again = true;
  if (running) return;
  running = true;
  catchingUp.value += 1;
  const mine = generation;
  try {
    let wait = firstRetryMs;
    while (again && mine === generation) {
      again = false;
      try {
        await Promise.all([readRooms(), readFriends(), catchUpConversations(openRoom())]);
        wait = firstRetryMs;
        readError.value = undefined;
      } catch (cause) {
        if (!(cause instanceof ParleyError)) throw cause;
        if (cause.code === "unauthenticated") return;
        again = true;
        readError.value = cause;
        await new Promise((resolve) => {
          setTimeout(resolve, Math.max(wait, cause.retryAfterMs ?? 0));
        });
        wait = Math.min(longestRetryMs, wait * 2);
      }
    }
  } finally {
    running = false;
    catchingUp.value -= 1;
    readError.value = undefined;
    if (again && mine !== generation && phase.value === "signed-in") void readAll();
  }
}

async function readRooms(): Promise<void> {
  const mine = generation;
  const askedAt = Date.now();
  const list = await parley.rooms();
  if (mine !== generation) return;
  setRooms(list, askedAt);
  repeatReadMarks();
}

async function readFriends(): Promise<void> {
  const mine = generation;
  const askedAt = Date.now();
  const list = await parley.friends();
  if (mine === generation) setFriends(list, askedAt);
}

function openRoom(): string | undefined {
  return route.value.view === "room" ? route.value.roomId : undefined;
}

function take(event: StreamEvent): void {
  const user = me.value;
  if (phase.value !== "signed-in" || user === undefined) return;
  switch (event.name) {
    case "message": {
      const mine = event.data.writerId === user.userId;
      liveMessage(event.data);
      if (!onRoomMessage(event.data, mine)) void readRooms().catch(() => undefined);
      if (!mine) lastArrival.value = event.data;
      break;
    }
    case "room":
      if (onRoom(event.data, user.userId)) leftRoom(event.data.roomId);
      break;
    case "friend":
      onFriend(event.data.friend, event.data.version);
      break;
    case "status":
      if (event.data.userId === user.userId) me.value = { ...user, userStatus: event.data.status };
      else onStatus(event.data.userId, event.data.status, event.data.version);
      break;
    case "reply":
      takeReply(event.data);
      break;
    default:
      break;
  }
}

/** Replies also tell of changes made in another tab. */
function takeReply(reply: Extract<StreamEvent, { name: "reply" }>["data"]): void {
  const user = me.value;
  if (!reply.isSuccess || user === undefined) return;
  if (reply.kind === "ChangeStatus" && typeof reply.status === "string") {
    me.value = { ...user, userStatus: reply.status };
  }
  if (reply.kind === "AddFriend" && reply.friendId?.some((one) => one.result === "added") === true) {
    // The `friend` events say the same; this is for the one that came before this stream.
    void readFriends().catch(() => undefined);
  }
  if (reply.kind === "LeaveRoom" && typeof reply.roomId === "string") leftRoom(reply.roomId);
  if (reply.kind === "AddRoom") void readRooms().catch(() => undefined);
}

/** I am no member of this room any more. */
export function leftRoom(roomId: string): void {
  dropRoom(roomId);
  dropConversation(roomId);
  if (openRoom() === roomId) go("/", true);
}

function isReadNote(note: unknown): note is { read: string; seq: number } {
  return typeof note === "object" && note !== null && "read" in note && "seq" in note;
}
