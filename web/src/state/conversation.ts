import { signal } from "@preact/signals";
import { ParleyError, RoomLog, type Message, type MessagePage, type TrackedRequest } from "../parley-client";
import { parley } from "./client";

/** A message of mine that is not in the log yet. */
export interface Pending {
  /** Unique in this page. */
  id: string;
  text: string;
  /** The newest `seq` known when it was first sent; its own is greater. */
  afterSeq: number;
  /** Undefined while an earlier message of the room is still on its way. */
  request: TrackedRequest<"AddChat"> | undefined;
}

/** What reading history is at. */
export type Reading = "idle" | "newest" | "older" | "failed";

const pageSize = 50;
/** More than this was missed: start again from the newest rather than read it all. */
const catchUpPages = 4;

/** Answers that asking again does not change. */
const final: ReadonlySet<string> = new Set(["room_not_found", "not_a_member", "invalid_request"]);

function isLast(page: MessagePage): boolean {
  return page.next === undefined || page.next === null || page.messages.length === 0;
}

let made = 0;

/** One room's messages as this page shows them: its log, what I send, and the reading of history. */
export class Conversation {
  readonly roomId: string;
  readonly log = new RoomLog();
  /** Changes with every change of what is to be shown. */
  readonly revision = signal(0);
  readonly reading = signal<Reading>("idle");
  readonly error = signal<ParleyError | undefined>(undefined);

  #pending: readonly Pending[] = [];
  readonly #me: string;
  #filling = false;

  constructor(roomId: string, me: string) {
    this.roomId = roomId;
    this.#me = me;
  }

  /**
   * My messages that the log does not show. One whose 202 is still under way is hidden when the log
   * ends in the very same text by me: that is it, its event was only faster than the answer.
   */
  get pending(): readonly Pending[] {
    const newest = this.log.messages.slice(-this.#pending.length - 4);
    const claimed = new Set(this.#pending.map((p) => p.request?.requestId));
    return this.#pending.filter((p) => {
      if (p.request === undefined || p.request.requestId !== undefined || p.request.phase === "failed") return true;
      const event = newest.find(
        (m) => m.writerId === this.#me && m.message === p.text.trim() && m.seq > p.afterSeq && !claimed.has(m.requestId),
      );
      if (event !== undefined) claimed.add(event.requestId);
      return event === undefined;
    });
  }

  /** Reads the newest page, unless there is one already. */
  async open(): Promise<void> {
    if (this.log.lastSeq !== undefined || this.log.reachedStart || this.reading.value === "newest") return;
    await this.#read("newest", {});
  }

  /** Reads the page before the oldest message held. */
  async older(): Promise<void> {
    const first = this.log.firstSeq;
    if (first === undefined || this.log.reachedStart || this.reading.value === "older") return;
    await this.#read("older", { before: first });
  }

  /**
   * After an interruption: reads what came after the newest message held.
   * @throws ParleyError when another try may succeed; a room that is not mine says so itself
   */
  async catchUp(): Promise<void> {
    try {
      await this.#catchUp();
    } catch (cause) {
      if (!(cause instanceof ParleyError) || !final.has(cause.code)) throw cause;
      this.reset();
      this.error.value = cause;
      this.reading.value = "failed";
    }
  }

  async #catchUp(): Promise<void> {
    if (this.log.lastSeq === undefined) {
      this.log.reachedStart = false;
      await this.#read("newest", {});
      if (this.error.value !== undefined) throw this.error.value;
      return;
    }
    for (let pages = 0; pages < catchUpPages; pages++) {
      const page = await parley.history(this.roomId, { after: this.log.lastSeq ?? 0, limit: pageSize });
      this.log.addPage(page.messages);
      this.#changed();
      if (isLast(page)) return;
    }
    this.reset();
    await this.open();
  }

  /** Takes a live message. */
  live(message: Message): void {
    // Nothing has been read yet: the first page will hold it.
    if (this.log.lastSeq === undefined && !this.log.reachedStart && this.reading.value !== "newest") return;
    if (this.log.add(message) === "conflict") {
      this.reset();
      void this.open();
      return;
    }
    this.#settle(message);
    this.#changed();
    if (this.log.gap !== undefined) void this.#fillGap();
  }

  /** Shows the text at once and sends it when the messages before it are through. */
  send(text: string): void {
    made += 1;
    const pending = { id: `p${made}`, text, afterSeq: 0, request: undefined };
    this.#pending = [...this.#pending, pending];
    this.#changed();
    this.#sendNext();
  }

  /** Another try of a message that failed or is not known. An open outcome keeps its Idempotency-Key. */
  retry(id: string): void {
    const pending = this.#pending.find((p) => p.id === id);
    if (pending?.request === undefined) return;
    if (pending.request.phase === "unknown") void pending.request.check();
    else if (pending.request.phase === "failed") this.#start(pending, pending.request.keyForRetry());
  }

  discard(id: string): void {
    this.#pending = this.#pending.filter((p) => p.id !== id);
    this.#changed();
    this.#sendNext();
  }

  /** Forgets the log; what I send stays. */
  reset(): void {
    this.log.clear();
    this.#changed();
  }

  get busy(): boolean {
    return this.#pending.length > 0;
  }

  /** Two messages in flight may swap places, so the next one waits until the one before is settled or given up on. */
  #sendNext(): void {
    for (const pending of this.#pending) {
      if (pending.request === undefined) {
        this.#start(pending);
        return;
      }
      if (pending.request.phase !== "unknown" && pending.request.phase !== "failed") return;
    }
  }

  #start(pending: Pending, key?: string): void {
    const request = parley.send(this.roomId, pending.text, key);
    const afterSeq = pending.request === undefined ? (this.log.lastSeq ?? 0) : pending.afterSeq;
    this.#pending = this.#pending.map((p) => (p.id === pending.id ? { ...p, afterSeq, request } : p));
    this.#changed();
    request.changes.on(() => this.#progress(pending.id, request));
  }

  #progress(id: string, request: TrackedRequest<"AddChat">): void {
    const reply = request.reply;
    if (request.phase === "done" && typeof reply?.seq === "number") {
      this.#pending = this.#pending.filter((p) => p.id !== id);
      this.live({
        roomId: this.roomId,
        seq: reply.seq,
        writerId: this.#me,
        message: reply.message ?? "",
        createdAt: reply.createdAt ?? new Date().toISOString(),
        requestId: reply.requestId,
      });
    } else if (request.requestId !== undefined && this.log.has(request.requestId)) {
      this.#pending = this.#pending.filter((p) => p.id !== id);
    }
    this.#changed();
    this.#sendNext();
  }

  #settle(message: Message): void {
    const { requestId } = message;
    const left = this.#pending.filter((p) => p.request?.requestId !== requestId);
    if (left.length === this.#pending.length) return;
    this.#pending = left;
    this.#sendNext();
  }

  async #read(what: "newest" | "older", range: { before?: number }): Promise<void> {
    this.reading.value = what;
    this.error.value = undefined;
    try {
      const page = await parley.history(this.roomId, { ...range, limit: pageSize });
      this.log.addPage(page.messages);
      if (isLast(page)) this.log.reachedStart = true;
      this.#pending = this.#pending.filter((p) => p.request?.requestId === undefined || !this.log.has(p.request.requestId));
      this.reading.value = "idle";
    } catch (cause) {
      this.error.value = cause instanceof ParleyError ? cause : new ParleyError("network", String(cause));
      this.reading.value = "failed";
    }
    this.#changed();
  }

  async #fillGap(): Promise<void> {
    if (this.#filling) return;
    this.#filling = true;
    try {
      await this.catchUp();
    } catch {
      // What waits behind the gap stays hidden; the next event or the next resync tries again.
    } finally {
      this.#filling = false;
    }
  }

  #changed(): void {
    this.revision.value += 1;
  }
}
