import { describe, expect, it } from "vitest";
import { parseRoute, pathOf, safeNext } from "./route";

const room = "/rooms/0192f0c1-2345-7abc-8def-0123456789ab";

describe("addresses", () => {
  it("are read and written alike", () => {
    for (const path of ["/", "/friends", "/me", "/new", "/new?with=mina", room, "/login", "/signup", "/login?next=%2Ffriends"]) {
      expect(pathOf(parseRoute(path))).toBe(path);
    }
  });

  it("that are no places are unknown", () => {
    for (const path of ["//[", "/rooms", "/rooms/x", `${room}/y`, "/rooms/..%2f..%2fapi", "/admin", "//evil.example/friends"]) {
      expect(parseRoute(path)).toEqual({ view: "unknown" });
    }
    expect(parseRoute("/new?with=<script>")).toEqual({ view: "new-room", friend: undefined });
  });

  it("to go on to after login stay within the page", () => {
    expect(safeNext(room)).toBe(room);
    expect(safeNext("/friends?x=1#y")).toBe("/friends");
    for (const evil of [
      null,
      "",
      "/",
      "/login?next=/login",
      "//evil.example",
      "//evil.example/friends",
      "/\\evil.example/friends",
      "\\\\evil.example",
      "https://evil.example/friends",
      "javascript:alert(1)",
      "/\t/evil.example",
      "/%2f%2fevil.example",
      "/api/session",
      "/rooms/https:evil",
    ]) {
      expect(safeNext(evil)).toBeUndefined();
    }
  });
});
