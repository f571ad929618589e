import { Emitter } from "./emitter";
import { EventStream, type StreamOptions, type StreamState } from "./stream";
import type { StreamEvent } from "./types";

/** What tabs say to each other. `note` is the page's own and passes through untouched. */
type TabMessage =
  | { is: "event"; event: StreamEvent }
  | { is: "state"; state: StreamState; userId: string | undefined }
  | { is: "reread"; reason: string }
  | { is: "ask" }
  | { is: "want"; want: Want }
  | { is: "note"; note: unknown };

type Want = "open" | "reopen" | "close";

/** The part of `BroadcastChannel` that is used. */
export interface Channel {
  onmessage: ((event: MessageEvent<TabMessage>) => void) | null;
  postMessage(message: TabMessage): void;
  close(): void;
}

/** Runs `held` while this tab alone holds the name; resolves when `held` does. As `LockManager.request`. */
export type Lock = (name: string, signal: AbortSignal, held: () => Promise<void>) => Promise<void>;

export interface SharedOptions extends StreamOptions {
  /** Names the lock and the channel: one stream for all tabs that share it. */
  name: string;
  channel?: Channel;
  lock?: Lock;
}

/**
 * One event stream for all tabs of a browser. HTTP/1.1 gives a browser six connections to a host, and
 * a gateway limits the streams of a user, so seven tabs with a stream each would starve. The tab
 * that holds a Web Lock keeps the stream and repeats it to the others; when it goes, the browser hands
 * the lock to the next one, which opens a fresh stream and has everybody read state again.
 *
 * Where the browser lacks Web Locks or BroadcastChannel each tab keeps a stream of its own.
 */
export class SharedStream {
  readonly events = new Emitter<StreamEvent>();
  readonly states = new Emitter<StreamState>();
  readonly reread = new Emitter<string>();
  /** Words from other tabs that were given to `note`. */
  readonly notes = new Emitter<unknown>();

  readonly #stream: EventStream;
  #channel: Channel | undefined;
  readonly #release = new AbortController();
  #leading = false;
  #wanted = false;
  #state: StreamState = "off";
  #userId: string | undefined;

  constructor(options: SharedOptions) {
    this.#stream = new EventStream(options);
    this.#stream.events.on((event) => {
      if (event.name === "hello") this.#userId = event.data.userId ?? undefined;
      this.#say({ is: "event", event });
      this.events.emit(event);
    });
    this.#stream.states.on((state) => this.#announce(state));
    this.#stream.reread.on((reason) => {
      this.#say({ is: "reread", reason });
      this.reread.emit(reason);
    });

    const lock = options.lock ?? browserLock();
    this.#channel = lock === undefined ? undefined : (options.channel ?? browserChannel(options.name));
    if (this.#channel === undefined || lock === undefined) {
      this.#leading = true;
      return;
    }
    this.#channel.onmessage = (event) => this.#heard(event.data);
    this.#say({ is: "ask" });
    // Chromium does not freeze a hidden page that holds a lock, so the stream lives on in the background.
    void lock(options.name, this.#release.signal, () => this.#lead()).catch(() => undefined);
  }

  get state(): StreamState {
    return this.#state;
  }

  get userId(): string | undefined {
    return this.#userId;
  }

  /** Whether this tab keeps the stream. */
  get leading(): boolean {
    return this.#leading;
  }

  open(): void {
    this.#want("open");
  }

  /** The cookie has changed: whoever keeps the stream opens it anew. */
  reopen(): void {
    this.#want("reopen");
  }

  close(): void {
    this.#want("close");
  }

  /** Says something to the other tabs. */
  note(note: unknown): void {
    this.#say({ is: "note", note });
  }

  /** This tab goes: gives up the stream, so that another tab takes over. */
  dispose(): void {
    // Without a word: the tabs that stay still want a stream, and one of them opens it.
    this.#channel?.close();
    this.#channel = undefined;
    this.#stream.close();
    this.#release.abort();
  }

  #want(want: Want): void {
    this.#obey(want);
    this.#say({ is: "want", want });
  }

  #obey(want: Want): void {
    this.#wanted = want !== "close";
    if (!this.#leading) return;
    if (want === "open") this.#stream.open();
    else if (want === "reopen") this.#stream.reopen();
    else this.#stream.close();
  }

  #lead(): Promise<void> {
    this.#leading = true;
    if (this.#wanted) this.#stream.open();
    return new Promise((resolve) => {
      this.#release.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  #heard(message: TabMessage): void {
    if (message.is === "note") this.notes.emit(message.note);
    else if (message.is === "want") this.#obey(message.want);
    else if (this.#leading) {
      // Only the keeper of the stream speaks of it; a late word of the one before it is void.
      if (message.is === "ask") this.#say({ is: "state", state: this.#state, userId: this.#userId });
    } else if (message.is === "event") {
      if (message.event.name === "hello") this.#userId = message.event.data.userId ?? undefined;
      this.events.emit(message.event);
    } else if (message.is === "reread") this.reread.emit(message.reason);
    else if (message.is === "state") {
      this.#userId = message.userId;
      this.#become(message.state);
    }
  }

  #announce(state: StreamState): void {
    this.#userId = this.#stream.userId;
    this.#say({ is: "state", state, userId: this.#userId });
    this.#become(state);
  }

  #become(state: StreamState): void {
    // A tab that follows has what its keeper has; `off` and `signed-out` mean that no stream is wanted.
    this.#wanted = state !== "off" && state !== "signed-out";
    if (this.#state === state) return;
    this.#state = state;
    this.states.emit(state);
  }

  #say(message: TabMessage): void {
    this.#channel?.postMessage(message);
  }
}

function browserLock(): Lock | undefined {
  const locks = globalThis.navigator?.locks;
  if (locks === undefined) return undefined;
  return async (name, signal, held) => {
    // The signal only ends the wait for a lock; a lock that is held ends with the promise of `held`.
    await locks.request(name, { signal }, async () => held());
  };
}

function browserChannel(name: string): Channel | undefined {
  return typeof BroadcastChannel === "undefined" ? undefined : (new BroadcastChannel(name) as Channel);
}
