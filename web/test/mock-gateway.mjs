// A scripted stand-in for the gateway, in memory, with faults to switch on. It exists for the paths that a real
// system takes too rarely to wait for (a lost reply, a late answer, a stream that ends) and for screenshots; that
// the page works with Parley is shown by the end-to-end test on the real parts, never by this.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../dist/", import.meta.url));
const types = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
// The very policy that the gateway sends.
const guard = await readFile(new URL("../../src/gateway/http/guard.rs", import.meta.url), "utf8");
const policy = /const CSP: &str = "([^"]+)";/.exec(guard)[1].replaceAll(/\\\s+/g, "");

/** Starts the server on a free loopback port. */
export async function startMock() {
  const gateway = new MockGateway();
  const server = createServer((request, response) => {
    gateway.handle(request, response).catch((error) => {
      if (!response.headersSent) gateway.problem(response, 500, "internal", String(error));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(gateway, {
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      for (const stream of gateway.streams) stream.response.destroy();
      server.close();
      server.closeAllConnections();
    },
  });
}

class MockGateway {
  users = new Map();
  rooms = new Map();
  sessions = new Map();
  /** Replies by request id; a key of a change leads to the same id again. */
  replies = new Map();
  keys = new Map();
  streams = new Set();
  /** Every call, as "POST /api/rooms". */
  calls = [];
  faults = {
    /** Milliseconds before a reply is made, by kind or for all. */
    replyDelay: {},
    /** Kinds whose reply event is not sent; asking for it finds it. */
    loseReply: new Set(),
    /** Kinds that are accepted and whose outcome stays open. */
    stall: new Set(),
    /** Kinds whose 202 is cut off though the request was taken. */
    cutAnswer: new Set(),
    /** Kinds refused with this code by the worker. */
    refuse: {},
    /** Kinds refused with 503 by the gateway. */
    unavailable: new Set(),
    deadlineMs: 15_000,
    streamsDown: false,
    resync: false,
  };

  addUser(userId, userName, userStatus = "", password = "password1") {
    const at = new Date().toISOString();
    const user = { userId, userName, userStatus, email: `${userId}@example.org`, joinDate: at, loginDate: null, logoutDate: null };
    this.users.set(userId, { user, password, friends: new Set(), version: 1 });
    return user;
  }

  befriend(a, b) {
    this.users.get(a).friends.add(b);
    this.users.get(b).friends.add(a);
  }

  addRoom(members, roomName = "") {
    const room = { roomId: randomUUID(), roomName, members: new Map(members.map((m) => [m, 0])), messages: [], version: 1 };
    this.rooms.set(room.roomId, room);
    return room;
  }

  say(room, writerId, message, at = new Date(), requestId = randomUUID()) {
    const entry = { roomId: room.roomId, seq: room.messages.length + 1, writerId, message, createdAt: at.toISOString(), requestId };
    room.messages.push(entry);
    return entry;
  }

  /** Sends an event to the streams of these users. */
  push(users, name, data) {
    for (const stream of this.streams) {
      const userId = this.sessions.get(stream.token)?.userId;
      if (userId !== undefined && users.includes(userId)) this.write(stream, name, data);
    }
  }

  live(room, entry) {
    this.push([...room.members.keys()], "message", entry);
  }

  /** Ends all streams, as a gateway that goes away does. */
  dropStreams() {
    for (const stream of this.streams) stream.response.end();
  }

  endSession(userId) {
    for (const session of this.sessions.values()) if (session.userId === userId) session.ended = true;
    this.dropStreams();
  }

  write(stream, name, data) {
    this.cursor = (this.cursor ?? 0) + 1;
    stream.response.write(`event: ${name}\nid: v1.0.${this.cursor}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  problem(response, status, code, detail = code, headers = {}) {
    response.writeHead(status, { "content-type": "application/problem+json", ...headers });
    response.end(JSON.stringify({ type: "about:blank", title: code, status, code, detail }));
  }

  json(response, status, body, headers = {}) {
    response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store", ...headers });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  }

  async handle(request, response) {
    const url = new URL(request.url, "http://mock.invalid");
    if (!url.pathname.startsWith("/api/")) return this.page(url, request, response);
    this.calls.push(`${request.method} ${url.pathname}`);
    const token = /(?:^|; )__Host-parley=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
    const session = this.sessions.get(token);
    const userId = session?.ended === true ? undefined : session?.userId;
    const call = `${request.method} ${url.pathname.replace(/[0-9a-f-]{36}/, ":id")}`;
    const id = /[0-9a-f-]{36}/.exec(url.pathname)?.[0];
    const body = await read(request);
    const change = (kind, run, setCookie) => this.change(kind, { request, response, token, body, run, setCookie });
    if (call === "GET /api/events") return this.events(request, response, token, session);
    if (call === "POST /api/users") return change("AddUser", () => this.doAddUser(body));
    if (call === "POST /api/session") return this.login(response, body);
    if (call === "GET /api/requests/:id") return this.settled(response, id);
    if (userId === undefined) return this.problem(response, 401, "unauthenticated", "no session");
    const me = this.users.get(userId);
    switch (call) {
      case "GET /api/me":
        return this.json(response, 200, me.user);
      case "DELETE /api/session":
        return change(
          "Logout",
          () => {
            const everywhere = url.searchParams.get("everywhere") === "true";
            for (const s of this.sessions.values()) if (s === session || (everywhere && s.userId === userId)) s.ended = true;
            setTimeout(() => this.dropStreams(), 50);
            return {};
          },
          "__Host-parley=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax",
        );
      case "PUT /api/me/status":
        return change("ChangeStatus", () => {
          me.user = { ...me.user, userStatus: body.status };
          me.version += 1;
          this.push([...me.friends], "status", { userId, status: body.status, version: me.version });
          return { status: body.status };
        });
      case "GET /api/rooms":
        return change("ListRooms", () => ({ rooms: this.roomsOf(userId), next: null }));
      case "GET /api/friends":
        return change("ListFriends", () => ({ friend: [...me.friends].map((f) => this.entry(f)), next: null }));
      case "POST /api/friends":
        return change("AddFriend", () => ({ friendId: body.friendId.map((f) => ({ userId: f, result: this.doAddFriend(userId, f) })) }));
      case "POST /api/rooms":
        return change("AddRoom", () => {
          const room = this.addRoom([userId, ...body.friendId], body.roomName ?? "");
          return this.changedRoom(room, [userId, ...body.friendId]);
        });
      case "DELETE /api/rooms/:id/members/me":
        return change("LeaveRoom", () => this.doLeave(this.rooms.get(id), userId));
      case "POST /api/rooms/:id/members":
        return change("AddRoom", () => {
          const room = this.rooms.get(id);
          for (const f of body.friendId) room.members.set(f, room.messages.length);
          room.version += 1;
          return this.changedRoom(room, body.friendId);
        });
    }
    const room = this.rooms.get(id);
    if (room === undefined || !room.members.has(userId)) return this.problem(response, 404, "room_not_found");
    switch (call) {
      case "POST /api/rooms/:id/messages":
        return change("AddChat", (requestId) => {
          const entry = this.say(room, userId, body.message, new Date(), requestId);
          this.live(room, entry);
          return { roomId: id, seq: entry.seq, message: entry.message, createdAt: entry.createdAt };
        });
      case "GET /api/rooms/:id/messages":
        return this.json(response, 200, page(room.messages, url.searchParams));
      case "PUT /api/rooms/:id/read":
        room.members.set(userId, Math.max(room.members.get(userId), body.seq));
        return this.json(response, 204);
      default:
        return this.problem(response, 404, "invalid_request");
    }
  }

  entry(userId) {
    const { userName, userStatus } = this.users.get(userId).user;
    return { userId, userName, userStatus };
  }

  roomsOf(userId) {
    return [...this.rooms.values()]
      .filter((room) => room.members.has(userId))
      .map((room) => {
        const last = room.messages.at(-1);
        return {
          roomId: room.roomId,
          roomName: room.roomName,
          memberCount: room.members.size,
          members: [...room.members.keys()].slice(0, 20),
          lastSeq: room.messages.length,
          lastMessage: last?.message ?? null,
          lastAt: last?.createdAt ?? null,
          unread: room.messages.length - room.members.get(userId),
        };
      });
  }

  changedRoom(room, joined) {
    const { roomId, roomName, version } = room;
    const members = [...room.members.keys()];
    const shape = { roomId, roomName, memberCount: members.length, members: members.slice(0, 20) };
    this.push(members, "room", { ...shape, joined, left: [], seq: room.messages.length, version });
    return { ...shape, createdAt: new Date().toISOString() };
  }

  doLeave(room, userId) {
    if (room === undefined) throw new Refusal("room_not_found");
    if (!room.members.delete(userId)) throw new Refusal("not_a_member");
    room.version += 1;
    const { roomId, roomName, version } = room;
    const members = [...room.members.keys()];
    const shape = { roomId, roomName, memberCount: members.length, members: members.slice(0, 20) };
    this.push([...members, userId], "room", { ...shape, joined: [], left: [userId], seq: room.messages.length, version });
    return { roomId, leftSeq: room.messages.length };
  }

  doAddUser(body) {
    if (this.users.has(body.userId)) throw new Refusal("user_exists");
    return { user: this.addUser(body.userId, body.userName, "", body.password) };
  }

  doAddFriend(me, friend) {
    if (me === friend) return "self";
    if (!this.users.has(friend)) return "unknown";
    if (this.users.get(me).friends.has(friend)) return "already";
    this.befriend(me, friend);
    this.push([me], "friend", { userId: me, friend: this.entry(friend), version: this.users.get(friend).version });
    this.push([friend], "friend", { userId: friend, friend: this.entry(me), version: this.users.get(me).version });
    return "added";
  }

  login(response, body) {
    const token = randomBytes(32).toString("hex");
    const session = { userId: undefined, ended: false };
    this.sessions.set(token, session);
    const run = () => {
      const found = this.users.get(body.userId);
      if (found === undefined || found.password !== body.password) throw new Refusal("wrong_credentials");
      session.userId = body.userId;
      setTimeout(() => {
        for (const stream of this.streams) if (stream.token === token) this.write(stream, "hello", { userId: body.userId });
      }, 20);
      return { user: found.user };
    };
    const setCookie = `__Host-parley=${token}; Path=/; Secure; HttpOnly; SameSite=Lax`;
    return this.change("Login", { request: { headers: {} }, response, token, body, run, setCookie });
  }

  /** Takes a request: 202, and its reply a little later on the streams of the session. */
  change(kind, { request, response, token, run, setCookie }) {
    const { faults } = this;
    if (faults.unavailable.has(kind)) return this.problem(response, 503, "unavailable", "away", { "retry-after": "1" });
    const key = request.headers["idempotency-key"];
    if (token === undefined && key !== undefined) return this.problem(response, 400, "invalid_request", "a key needs a cookie");
    const requestId = this.keys.get(key) ?? randomUUID();
    const again = this.keys.has(key);
    if (key !== undefined) this.keys.set(key, requestId);
    const settle = () => {
      let reply = this.replies.get(requestId);
      if (reply === undefined) {
        const userId = this.sessions.get(token)?.userId ?? null;
        const base = { kind, requestId, userId, errorCode: null, errorMessage: null };
        try {
          const refusal = faults.refuse[kind];
          if (refusal !== undefined) throw new Refusal(refusal);
          reply = { ...base, isSuccess: true, ...run(requestId) };
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          reply = { ...base, isSuccess: false, errorCode: error.message, errorMessage: error.message };
        }
        this.replies.set(requestId, reply);
      }
      if (faults.loseReply.has(kind)) return;
      for (const stream of this.streams) if (stream.token === token) this.write(stream, "reply", reply);
    };
    if (!faults.stall.has(kind)) setTimeout(settle, faults.replyDelay[kind] ?? faults.replyDelay.all ?? 25);
    if (faults.cutAnswer.has(kind) && !again) return response.destroy();
    const headers = setCookie === undefined ? {} : { "set-cookie": setCookie };
    return this.json(response, 202, { requestId, deadline: new Date(Date.now() + faults.deadlineMs).toISOString() }, headers);
  }

  settled(response, requestId) {
    const reply = this.replies.get(requestId);
    return reply === undefined ? this.json(response, 202, { requestId }) : this.json(response, 200, reply);
  }

  events(request, response, token, session) {
    if (session?.ended === true) return void response.writeHead(204).end();
    const head = { "content-type": "text/event-stream", "cache-control": "no-store, no-transform" };
    const cookie = token ?? randomBytes(32).toString("hex");
    if (token === undefined) head["set-cookie"] = `__Host-parley=${cookie}; Path=/; Secure; HttpOnly; SameSite=Lax`;
    response.writeHead(200, head);
    if (this.faults.streamsDown) return void response.end("retry: 300\n\n");
    const stream = { response, token: cookie };
    this.streams.add(stream);
    response.on("close", () => this.streams.delete(stream));
    response.write("retry: 300\n\n");
    this.write(stream, "hello", { userId: session?.userId, sessionKey: createHash("sha256").update(cookie).digest("hex").slice(0, 8), serverTime: new Date().toISOString() });
    if (request.headers["last-event-id"] === undefined) return undefined;
    if (this.faults.resync) return this.write(stream, "resync", { reason: "expired" });
    return this.write(stream, "resumed", { replayed: 0 });
  }

  /** As the gateway does: a browser without a cookie is given an anonymous one. */
  anonymous(request) {
    if (request.headers.cookie?.includes("__Host-parley=")) return {};
    return { "set-cookie": `__Host-parley=${randomBytes(32).toString("hex")}; Path=/; Secure; HttpOnly; SameSite=Lax` };
  }

  async page(url, request, response) {
    const asset = normalize(url.pathname).replace(/^(\.\.(\/|$))+/, "");
    const type = types[extname(asset)];
    if (type === undefined && asset !== "/") return this.problem(response, 404, "invalid_request", "there is nothing here");
    const file = type === undefined ? "index.html" : asset;
    try {
      const content = await readFile(join(dist, file));
      response.writeHead(200, { "content-type": type ?? types[".html"], "content-security-policy": policy, "x-content-type-options": "nosniff", ...this.anonymous(request) });
      response.end(content);
    } catch {
      this.problem(response, 404, "invalid_request", "no such file");
    }
  }
}

class Refusal extends Error {}

function page(messages, query) {
  const limit = Number(query.get("limit") ?? 50);
  const before = query.get("before");
  const after = query.get("after");
  if (after !== null) {
    const newer = messages.filter((m) => m.seq > Number(after));
    const shown = newer.slice(0, limit);
    return { messages: shown, next: newer.length > limit ? shown.at(-1).seq : undefined };
  }
  const older = before === null ? messages : messages.filter((m) => m.seq < Number(before));
  const shown = older.slice(-limit);
  return { messages: shown, next: older.length > limit ? shown[0].seq : undefined };
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString("utf8"));
}
