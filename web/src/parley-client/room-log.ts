import type { Message } from "./types";

/** What became of a message given to a log. */
export type Added = "new" | "duplicate" | "conflict";

/**
 * The part of a room's log that this client holds: one unbroken run of `seq` numbers, oldest first.
 *
 * A live message that does not join on to the run is kept aside and reported by `gap`, so that the
 * caller reads what lies between and nothing is ever shown with a hole before it.
 */
export class RoomLog {
  #run: Message[] = [];
  readonly #aside = new Map<number, Message>();
  /** Whether the oldest message held is the first one that this reader may see. */
  reachedStart = false;

  get messages(): readonly Message[] {
    return this.#run;
  }

  get firstSeq(): number | undefined {
    return this.#run[0]?.seq;
  }

  get lastSeq(): number | undefined {
    return this.#run[this.#run.length - 1]?.seq;
  }

  /** The first missing number while something newer waits aside; undefined when nothing is missing. */
  get gap(): number | undefined {
    return this.#aside.size > 0 && this.lastSeq !== undefined ? this.lastSeq + 1 : undefined;
  }

  /** Adds a live message. `conflict`: the number is known with another request; re-read the room. */
  add(message: Message): Added {
    const held = this.get(message.seq) ?? this.#aside.get(message.seq);
    if (held !== undefined) return sameRequest(held, message) ? "duplicate" : "conflict";
    // Older than the run: history that was not asked for, as after a resume. The reader scrolls to it.
    if (this.firstSeq !== undefined && message.seq < this.firstSeq - 1) return "duplicate";
    this.#aside.set(message.seq, message);
    this.#join();
    return "new";
  }

  /** Adds a page of history, in any order. Returns how many messages were new. */
  addPage(page: readonly Message[]): number {
    const before = this.#run.length + this.#aside.size;
    for (const message of page.toSorted((a, b) => a.seq - b.seq)) {
      if (this.get(message.seq) === undefined) this.#aside.set(message.seq, message);
    }
    this.#join();
    return this.#run.length + this.#aside.size - before;
  }

  get(seq: number): Message | undefined {
    const first = this.firstSeq;
    return first === undefined ? undefined : this.#run[seq - first];
  }

  has(requestId: string): boolean {
    // A message that settles a pending one is almost always among the newest.
    for (let i = this.#run.length - 1; i >= 0; i--) if (this.#run[i]?.requestId === requestId) return true;
    for (const message of this.#aside.values()) if (message.requestId === requestId) return true;
    return false;
  }

  clear(): void {
    this.#run = [];
    this.#aside.clear();
    this.reachedStart = false;
  }

  #join(): void {
    if (this.#aside.size === 0) return;
    const run = this.#run.slice();
    if (run.length === 0) {
      // Start from the newest unbroken run of what waits: what is older is history for later.
      let seq = Math.max(...this.#aside.keys());
      for (let found = this.#take(seq); found !== undefined; found = this.#take(--seq)) run.unshift(found);
    }
    for (let last = run[run.length - 1]; last !== undefined; last = run[run.length - 1]) {
      const next = this.#take(last.seq + 1);
      if (next === undefined) break;
      run.push(next);
    }
    const older: Message[] = [];
    for (let seq = (run[0]?.seq ?? 1) - 1; seq >= 1; seq--) {
      const previous = this.#take(seq);
      if (previous === undefined) break;
      older.push(previous);
    }
    this.#run = older.length > 0 ? [...older.toReversed(), ...run] : run;
    // Older than the run and behind a hole: history reads it again, in its turn.
    for (const seq of this.#aside.keys()) if (seq < (this.firstSeq ?? 0)) this.#aside.delete(seq);
  }

  #take(seq: number): Message | undefined {
    const found = this.#aside.get(seq);
    this.#aside.delete(seq);
    return found;
  }
}

function sameRequest(a: Message, b: Message): boolean {
  return a.requestId === b.requestId;
}
