import type { Http } from "./http";
import { TrackedRequest, type RequestSpec } from "./request";
import type { Kind, Reply } from "./types";

/** More than the replies that can come within the round trip of one call. */
const earlyReplies = 128;

/** All requests that wait, by their id. */
export class Tracker {
  readonly #http: Http;
  readonly #newKey: () => string;
  readonly #open = new Set<TrackedRequest>();
  /** Replies of no open request: of other tabs, or faster than the 202 that tells the request's id. */
  readonly #early = new Map<string, Reply>();

  constructor(http: Http, newKey: () => string = randomKey) {
    this.#http = http;
    this.#newKey = newKey;
  }

  /** `key` is that of an earlier try of the same request. */
  start<K extends Kind>(spec: RequestSpec<K>, key?: string): TrackedRequest<K> {
    const request = new TrackedRequest(spec, this.#http, this.#newKey, key);
    const any = request as unknown as TrackedRequest;
    this.#open.add(any);
    any.changes.on(() => {
      if (any.settled) this.#open.delete(any);
      else if (any.requestId !== undefined) {
        const early = this.#early.get(any.requestId);
        if (early !== undefined) any.settle(early);
      }
    });
    request.start();
    return request;
  }

  /** Settles the request that a reply event speaks of; a reply to another tab's request finds none. */
  reply(reply: Reply): void {
    for (const request of this.#open) {
      if (request.requestId === reply.requestId) {
        request.settle(reply);
        return;
      }
    }
    this.#early.set(reply.requestId, reply);
    if (this.#early.size > earlyReplies) {
      const oldest = this.#early.keys().next();
      if (oldest.done !== true) this.#early.delete(oldest.value);
    }
  }

  /** Replies may have been missed: asks after every request that waits. */
  lookAfterAll(): void {
    for (const request of this.#open) if (request.requestId !== undefined) void request.check();
  }

  /** Forgets every request, as at logout. */
  clear(): void {
    for (const request of this.#open) request.dispose();
    this.#open.clear();
    this.#early.clear();
  }
}

/** A version 4 UUID. `crypto.randomUUID` is there on https and loopback only; a page on plain http makes its own. */
function randomKey(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte, i) => {
    const marked = i === 6 ? (byte & 0x0f) | 0x40 : i === 8 ? (byte & 0x3f) | 0x80 : byte;
    return marked.toString(16).padStart(2, "0");
  });
  return [hex.slice(0, 4), hex.slice(4, 6), hex.slice(6, 8), hex.slice(8, 10), hex.slice(10)].map((part) => part.join("")).join("-");
}
