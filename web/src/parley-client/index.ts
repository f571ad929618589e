/** Parley's client: the HTTP API, requests that settle, and one event stream for all tabs. */
export { Parley, type ParleyOptions } from "./client";
export { Versions } from "./dedupe";
export { ParleyError, type FailureCode } from "./error";
export { RoomLog } from "./room-log";
export { type StreamState } from "./stream";
export { type Phase, type TrackedRequest } from "./request";
export type {
  Friend,
  FriendResult,
  Kind,
  Message,
  MessagePage,
  NewUser,
  ReplyOf,
  Room,
  RoomEvent,
  StreamEvent,
  User,
} from "./types";
