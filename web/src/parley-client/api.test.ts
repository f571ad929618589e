import { describe, expect, it } from "vitest";
import { call } from "./api";

const roomId = "0190c8a0-0000-7000-8000-000000000001";

describe("calls of the API", () => {
  it("fill in the path, the query and the body", () => {
    expect(call("get", "/api/me", {})).toEqual({ method: "GET", path: "/api/me" });
    expect(call("get", "/api/rooms/{roomId}/messages", { params: { roomId }, query: { before: 7, limit: 50 } })).toEqual({
      method: "GET",
      path: `/api/rooms/${roomId}/messages?before=7&limit=50`,
    });
    expect(call("post", "/api/friends", { body: { friendId: ["mina"] } })).toEqual({
      method: "POST",
      path: "/api/friends",
      body: { friendId: ["mina"] },
    });
    expect(call("delete", "/api/rooms/{roomId}/members/me", { params: { roomId }, body: {} })).toEqual({
      method: "DELETE",
      path: `/api/rooms/${roomId}/members/me`,
      body: {},
    });
  });

  it("let nothing of a parameter into the path", () => {
    expect(call("put", "/api/rooms/{roomId}/read", { params: { roomId: "../../me?x=#" }, body: { seq: 1 } }).path).toBe(
      "/api/rooms/..%2F..%2Fme%3Fx%3D%23/read",
    );
  });

  it("do not compile when the description knows no such thing", () => {
    // Each of these lines must be an error; `npm run typecheck` fails when one is not.
    const wrong = [
      // @ts-expect-error no such path
      () => call("get", "/api/nothing", {}),
      // @ts-expect-error no such method there
      () => call("delete", "/api/me", {}),
      // @ts-expect-error a field too few
      () => call("post", "/api/session", { body: { userId: "mina" } }),
      // @ts-expect-error a field of another type
      () => call("put", "/api/rooms/{roomId}/read", { params: { roomId }, body: { seq: "7" } }),
      // @ts-expect-error a parameter too few
      () => call("get", "/api/rooms/{roomId}/messages", {}),
    ];
    expect(wrong).toHaveLength(5);
  });
});
