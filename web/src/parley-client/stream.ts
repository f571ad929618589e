import { Emitter } from "./emitter";
import { streamEventNames, type HelloEvent, type StreamEvent, type StreamEventName, type StreamEvents } from "./types";

/**
 * What the stream can honestly say of itself. `resync` means that events may have been missed since
 * the last `live`, so that state has to be read again; it is over when the reader says so, which is
 * not the stream's business: the stream goes on to `live` at once and tells by its signal `reread`.
 */
export type StreamState = "off" | "connecting" | "live" | "reconnecting" | "signed-out";

/** Answers whether the browser still has an open session. Rejects when that cannot be told now. */
export type SessionProbe = () => Promise<"open" | "ended">;

/** The part of `EventSource` that is used, so that tests and other runtimes can stand in for it. */
export interface EventSourceLike {
  readonly readyState: number;
  onopen: ((event: Event) => void) | null;
  onerror: ((event: Event) => void) | null;
  addEventListener(name: string, listener: (event: MessageEvent<string>) => void): void;
  close(): void;
}

export interface StreamOptions {
  url: string;
  probe: SessionProbe;
  create?: (url: string) => EventSourceLike;
  random?: () => number;
}

const closed = 2;
/** A gateway that has nothing to resume from says so, or `resumed`, well within this. */
const resumeGraceMs = 5_000;
const firstBackoffMs = 1_000;
const longestBackoffMs = 30_000;
/** How often the clock is looked at, and the jump that tells of a sleep which no socket survives. */
const clockTickMs = 10_000;
const clockJumpMs = 60_000;

/**
 * One EventSource kept open, with everything the standard leaves to the page: it tells a resumed
 * stream from one with a hole, comes back after the browser has given up for ever (any status but
 * 200), and tells a revoked session from a gateway that is away.
 */
export class EventStream {
  readonly events = new Emitter<StreamEvent>();
  readonly states = new Emitter<StreamState>();
  /** Emits when continuity is not proven: everything that events keep up to date must be read again. */
  readonly reread = new Emitter<string>();

  readonly #url: string;
  readonly #probe: SessionProbe;
  readonly #create: (url: string) => EventSourceLike;
  readonly #random: () => number;

  #source: EventSourceLike | undefined;
  #state: StreamState = "off";
  /** Whether this EventSource holds a cursor, which the browser sends at its next reconnect. */
  #hasCursor = false;
  /** Between the hello of a reconnect and the word on whether it was resumed. */
  #resuming = false;
  #failures = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #resumeTimer: ReturnType<typeof setTimeout> | undefined;
  #clockTimer: ReturnType<typeof setInterval> | undefined;
  #userId: string | undefined;

  constructor(options: StreamOptions) {
    this.#url = options.url;
    this.#probe = options.probe;
    this.#create = options.create ?? ((url) => new EventSource(url, { withCredentials: false }));
    this.#random = options.random ?? Math.random;
  }

  get state(): StreamState {
    return this.#state;
  }

  /** The user that the last hello named; undefined for a session that is still unknown. */
  get userId(): string | undefined {
    return this.#userId;
  }

  /** Opens the stream unless it is open. */
  open(): void {
    if (this.#source !== undefined || this.#retryTimer !== undefined) return;
    this.#connect("connecting");
    this.#watchClock();
  }

  /** Drops the stream and opens another: the cookie has changed, or the network has. */
  reopen(): void {
    this.#drop();
    this.#userId = undefined;
    this.#connect("connecting");
    this.#watchClock();
  }

  /** Closes the stream; it stays closed until `open`. */
  close(state: "off" | "signed-out" = "off"): void {
    this.#drop();
    clearInterval(this.#clockTimer);
    this.#clockTimer = undefined;
    this.#userId = undefined;
    this.#become(state);
  }

  #connect(state: StreamState): void {
    this.#become(state);
    const source = this.#create(this.#url);
    this.#source = source;
    this.#hasCursor = false;
    this.#resuming = false;
    // A listener of a source that was dropped must not speak for the one that followed it.
    const current = () => this.#source === source;
    source.onerror = () => {
      if (current()) this.#failed(source);
    };
    for (const name of streamEventNames) {
      source.addEventListener(name, (event) => {
        if (current()) this.#received(name, event);
      });
    }
  }

  #received(name: StreamEventName, event: MessageEvent<string>): void {
    const data = parse(event.data);
    if (data === undefined) return;
    const hadCursor = this.#hasCursor;
    if (event.lastEventId !== "") this.#hasCursor = true;
    this.#failures = 0;
    if (name === "hello") this.#hello(data as HelloEvent, hadCursor);
    if (name === "resumed") this.#settleResume();
    this.events.emit({ name, data } as { name: typeof name; data: StreamEvents[typeof name] } as StreamEvent);
    if (name === "resync") this.#settleResume((data as StreamEvents["resync"]).reason);
  }

  #hello(hello: HelloEvent, hadCursor: boolean): void {
    const second = this.#state === "live" || this.#resuming;
    const userId = hello.userId ?? undefined;
    const arrived = userId !== this.#userId && userId !== undefined;
    this.#userId = userId;
    if (second) {
      // The session has become known on this very stream; what came before it was not this user's.
      if (arrived && !this.#resuming) this.reread.emit("session");
      return;
    }
    if (!hadCursor) {
      this.#become("live");
      this.reread.emit("fresh");
      return;
    }
    this.#resuming = true;
    this.#resumeTimer = setTimeout(() => this.#settleResume("silent"), resumeGraceMs);
  }

  /** `reason` names why continuity is not proven; without it everything missed has been replayed. */
  #settleResume(reason?: string): void {
    clearTimeout(this.#resumeTimer);
    this.#resuming = false;
    this.#become("live");
    if (reason !== undefined) this.reread.emit(reason);
  }

  #failed(source: EventSourceLike): void {
    clearTimeout(this.#resumeTimer);
    this.#resuming = false;
    this.#become("reconnecting");
    if (source.readyState !== closed) return; // The browser reconnects by itself, with its cursor.
    this.#drop();
    // The browser has given up: the session has ended (204), or something before the gateway answered.
    void this.#probe().then(
      (session) => {
        if (this.#source !== undefined || this.#state !== "reconnecting") return;
        if (session === "ended") this.close("signed-out");
        else this.#later();
      },
      () => {
        if (this.#source === undefined && this.#state === "reconnecting") this.#later();
      },
    );
  }

  #later(): void {
    const ceiling = Math.min(longestBackoffMs, firstBackoffMs * 2 ** this.#failures);
    this.#failures += 1;
    const delay = ceiling / 2 + (ceiling / 2) * this.#random();
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.#connect("reconnecting");
    }, delay);
  }

  #drop(): void {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#resumeTimer);
    this.#retryTimer = undefined;
    this.#resuming = false;
    this.#source?.close();
    this.#source = undefined;
  }

  /**
   * Heartbeats are events that are not listened for: they set the browser's cursor, and one that is
   * late says little. A machine that slept is known by its clock, and then the socket is not worth
   * waiting for.
   */
  #watchClock(): void {
    if (this.#clockTimer !== undefined) return;
    let last = Date.now();
    this.#clockTimer = setInterval(() => {
      const now = Date.now();
      if (now - last > clockJumpMs && this.#source !== undefined) this.reopen();
      last = now;
    }, clockTickMs);
  }

  #become(state: StreamState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.states.emit(state);
  }
}

function parse(text: string): unknown {
  try {
    const data: unknown = JSON.parse(text);
    return typeof data === "object" && data !== null ? data : undefined;
  } catch {
    return undefined;
  }
}
