import { call, type Call } from "./api";
import { RecentKeys } from "./dedupe";
import { Emitter } from "./emitter";
import { ParleyError } from "./error";
import { Http, type Fetch } from "./http";
import type { EventSourceLike, StreamState } from "./stream";
import { SharedStream, type Channel, type Lock } from "./tabs";
import type { TrackedRequest } from "./request";
import { Tracker } from "./tracker";
import type { Friend, Kind, MessagePage, NewUser, ReplyOf, Room, StreamEvent, User } from "./types";

export interface ParleyOptions {
  /** Origin and path before `/api`; empty for the page's own origin. */
  base?: string;
  /** Tabs of one origin with the same name share one stream. */
  name?: string;
  fetch?: Fetch;
  eventSource?: (url: string) => EventSourceLike;
  channel?: Channel;
  lock?: Lock;
}

/** The cap of the contract on a page of a list. */
const pageLimit = 100;
/** 2,000 rooms or friends; a reader of more than that is not served by reading on. */
const longestList = 20;
/** How long a gateway may hold a read before it answers 202: short, for a browser has six connections to share. */
const readWaitSeconds = 3;

/**
 * A session with Parley. Changes return a `TrackedRequest`; reads return promises; what the server pushes
 * comes from `events`, each thing once.
 */
export class Parley {
  /** Pushed events and replies, without doubles of replies; message doubles are for `RoomLog` to drop. */
  readonly events = new Emitter<StreamEvent>();
  readonly stream: SharedStream;

  readonly #http: Http;
  readonly #tracker: Tracker;
  readonly #replies = new RecentKeys();

  constructor(options: ParleyOptions = {}) {
    const base = options.base ?? "";
    this.#http = new Http(options.fetch ?? ((input, init) => fetch(input, init)), base);
    this.#tracker = new Tracker(this.#http);
    this.stream = new SharedStream({
      url: `${base}/api/events`,
      name: options.name ?? "parley",
      probe: async () => ((await this.me()) === undefined ? "ended" : "open"),
      ...(options.eventSource === undefined ? {} : { create: options.eventSource }),
      ...(options.channel === undefined ? {} : { channel: options.channel }),
      ...(options.lock === undefined ? {} : { lock: options.lock }),
    });
    this.stream.events.on((event) => {
      if (event.name === "reply") {
        // A gateway sends the replies of the last seconds again to a stream that opens. The same request may be answered
        // twice only by being given up at its deadline and then done under the same key.
        if (!this.#replies.add(`${event.data.requestId} ${event.data.errorCode ?? ""}`)) return;
        this.#tracker.reply(event.data);
      }
      this.events.emit(event);
    });
    this.stream.states.on((state: StreamState) => {
      if (state === "live") this.#tracker.lookAfterAll();
    });
  }

  /** The user of this browser's session; undefined when it has none. */
  async me(): Promise<User | undefined> {
    try {
      return (await this.#http.call(call("get", "/api/me", {}))).body;
    } catch (cause) {
      if (cause instanceof ParleyError && cause.status === 401) return undefined;
      throw cause;
    }
  }

  /**
   * Creates an account. Key and reply are bound to the browser's cookie, an anonymous one as a rule; a browser that
   * has just logged out has none, and the page gives it one. Opens the stream, which brings the reply.
   */
  signUp(user: NewUser, key?: string): TrackedRequest<"AddUser"> {
    const before = async () => {
      await this.#http.call({ method: "GET", path: "/" });
      this.stream.open();
    };
    return this.#tracker.start({ kind: "AddUser", ...call("post", "/api/users", { body: user }), keyed: true, before }, key);
  }

  /**
   * Sends the password. The cookie of the new session comes with the 202, so the stream is opened anew
   * right then; the session is open when the reply says so.
   */
  login(userId: string, password: string): TrackedRequest<"Login"> {
    const request = this.#tracker.start({
      kind: "Login",
      ...call("post", "/api/session", { body: { userId, password } }),
      keyed: false,
    });
    const stop = request.changes.on(() => {
      if (request.requestId === undefined) return;
      stop();
      if (!request.settled) this.stream.reopen();
    });
    return request;
  }

  /** `everywhere` ends every session of this user. */
  logout(everywhere: boolean): TrackedRequest<"Logout"> {
    return this.#change("Logout", call("delete", "/api/session", { ...(everywhere && { query: { everywhere } }), body: {} }));
  }

  changeStatus(status: string, key?: string): TrackedRequest<"ChangeStatus"> {
    return this.#change("ChangeStatus", call("put", "/api/me/status", { body: { status } }), key);
  }

  addFriends(friendId: string[], key?: string): TrackedRequest<"AddFriend"> {
    return this.#change("AddFriend", call("post", "/api/friends", { body: { friendId } }), key);
  }

  openRoom(friendId: string[], roomName: string | undefined, key?: string): TrackedRequest<"AddRoom"> {
    const body = roomName === undefined ? { friendId } : { friendId, roomName };
    return this.#change("AddRoom", call("post", "/api/rooms", { body }), key);
  }

  addMembers(roomId: string, friendId: string[], key?: string): TrackedRequest<"AddRoom"> {
    const made = call("post", "/api/rooms/{roomId}/members", { params: { roomId }, body: { friendId } });
    return this.#change("AddRoom", made, key);
  }

  send(roomId: string, message: string, key?: string): TrackedRequest<"AddChat"> {
    const made = call("post", "/api/rooms/{roomId}/messages", { params: { roomId }, body: { message } });
    return this.#change("AddChat", made, key);
  }

  /** Leaves a room: what is said there from now on is not for this user any more. */
  leave(roomId: string, key?: string): TrackedRequest<"LeaveRoom"> {
    return this.#change("LeaveRoom", call("delete", "/api/rooms/{roomId}/members/me", { params: { roomId }, body: {} }), key);
  }

  /** All rooms of mine. @throws ParleyError */
  rooms(): Promise<Room[]> {
    const page = (after?: string) => call("get", "/api/rooms", { query: pageQuery(after) });
    return this.#list("ListRooms", page, (reply) => [reply.rooms ?? [], reply.next]);
  }

  /** All friends of mine. @throws ParleyError */
  friends(): Promise<Friend[]> {
    const page = (after?: string) => call("get", "/api/friends", { query: pageQuery(after) });
    return this.#list("ListFriends", page, (reply) => [reply.friend ?? [], reply.next]);
  }

  /**
   * A page of a room's messages: those before a `seq`, those after one, or the newest.
   * @throws ParleyError
   */
  async history(roomId: string, range: { before?: number; after?: number; limit: number }): Promise<MessagePage> {
    const made = call("get", "/api/rooms/{roomId}/messages", { params: { roomId }, query: range });
    const page = (await this.#http.call(made)).body as MessagePage | undefined;
    if (!Array.isArray(page?.messages)) throw new ParleyError("protocol", "a page without messages", 200);
    return page;
  }

  /** Says that everything up to `seq` has been read. @throws ParleyError */
  async markRead(roomId: string, seq: number): Promise<void> {
    await this.#http.call(call("put", "/api/rooms/{roomId}/read", { params: { roomId }, body: { seq } }));
  }

  /** Forgets the requests that wait, as when the session is gone. */
  forget(): void {
    this.#tracker.clear();
    this.#replies.clear();
  }

  /** Gives the stream to another tab. */
  dispose(): void {
    this.#tracker.clear();
    this.stream.dispose();
  }

  /** A change of state, which always carries a key. */
  #change<K extends Kind>(kind: K, made: Call, key?: string): TrackedRequest<K> {
    return this.#tracker.start({ kind, ...made, keyed: true }, key);
  }

  async #list<K extends "ListRooms" | "ListFriends", T>(
    kind: K,
    page: (after?: string) => Call,
    take: (reply: ReplyOf<K>) => [T[], string | null | undefined],
  ): Promise<T[]> {
    const all: T[] = [];
    let after: string | undefined;
    for (let read = 0; read < longestList; read++) {
      const [items, next] = take(await this.#read(kind, page(after)));
      all.push(...items);
      if (next === undefined || next === null || next === after) break;
      after = next;
    }
    return all;
  }

  /** A read whose answer is overdue is simply asked again: it changes nothing. */
  async #read<K extends "ListRooms" | "ListFriends">(kind: K, made: Call): Promise<ReplyOf<K>> {
    const request = this.#tracker.start<K>({ kind, ...made, keyed: false, waitSeconds: readWaitSeconds });
    const overdue = new Promise<never>((_resolve, reject) => {
      request.changes.on(() => {
        if (request.phase === "unknown") reject(new ParleyError("network", "the answer is overdue"));
      });
    });
    return Promise.race([request.result, overdue]);
  }
}

function pageQuery(after: string | undefined): { after?: string; limit: number } {
  return { ...(after === undefined ? {} : { after }), limit: pageLimit };
}
