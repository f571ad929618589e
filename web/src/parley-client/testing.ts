import type { Fetch } from "./http";
import type { EventSourceLike } from "./stream";
import type { Channel, Lock } from "./tabs";

/** Stand-ins for the browser's parts, for the tests of this library and of those who use it. */

/** An EventSource that says what the test says. */
export class FakeSource implements EventSourceLike {
  static made: FakeSource[] = [];
  readyState = 0;
  onopen = null;
  onerror: ((event: Event) => void) | null = null;
  closed = false;
  readonly #listeners = new Map<string, (event: MessageEvent<string>) => void>();

  constructor() {
    FakeSource.made.push(this);
  }

  static get last(): FakeSource {
    const last = FakeSource.made.at(-1);
    if (last === undefined) throw new Error("no stream was opened");
    return last;
  }

  addEventListener(name: string, listener: (event: MessageEvent<string>) => void): void {
    this.#listeners.set(name, listener);
  }

  close(): void {
    this.closed = true;
    this.readyState = 2;
  }

  say(name: string, data: unknown, lastEventId = "v1.0.AA"): void {
    this.readyState = 1;
    this.#listeners.get(name)?.({ data: JSON.stringify(data), lastEventId } as MessageEvent<string>);
  }

  /** `forever`: as after any status but 200. Otherwise the browser will reconnect by itself. */
  fail(forever = false): void {
    this.readyState = forever ? 2 : 0;
    this.onerror?.(new Event("error"));
  }
}

/** Answers calls in turn by what the test gives; records them. */
export class FakeServer {
  readonly calls: { method: string; path: string; headers: Record<string, string>; body: unknown }[] = [];
  /** Called for each request; throws for a call that gets no answer. */
  answer: (method: string, path: string) => Response | Promise<Response> = () => json(404, { code: "room_not_found" });

  readonly fetch: Fetch = async (path, init) => {
    const method = init.method ?? "GET";
    const body: unknown = typeof init.body === "string" ? JSON.parse(init.body) : undefined;
    this.calls.push({ method, path, headers: init.headers as Record<string, string>, body });
    return this.answer(method, path);
  };
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });
}

export function accepted(requestId: string, inMs = 15_000): Response {
  const deadline = new Date(Date.now() + inMs).toISOString();
  return json(202, { requestId, deadline }, { date: new Date().toUTCString() });
}

/** Tabs of one browser: their channels hear each other, and one at a time holds the lock. */
export class FakeBrowser {
  readonly #channels = new Set<Channel>();
  readonly #waiting: (() => void)[] = [];
  #held = false;

  channel(): Channel {
    const channel: Channel = {
      onmessage: null,
      postMessage: (message) => {
        for (const other of this.#channels) {
          if (other !== channel) other.onmessage?.({ data: structuredClone(message) } as MessageEvent<typeof message>);
        }
      },
      close: () => {
        this.#channels.delete(channel);
      },
    };
    this.#channels.add(channel);
    return channel;
  }

  readonly lock: Lock = async (_name, signal, held) => {
    if (this.#held) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push(resolve);
        signal.addEventListener("abort", () => reject(new Error("aborted")));
      });
    }
    this.#held = true;
    await held();
    this.#held = false;
    this.#waiting.shift()?.();
  };
}
