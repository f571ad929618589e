import type { components } from "./schema.gen";

/**
 * The shapes of Parley's HTTP API and of its event stream, by the names that this library uses for them. They are made of the
 * API's description (`npm run generate`). All dates are RFC 3339 text; ids are text; a `seq` is the dense number of a message
 * in its room, from 1.
 */
type Schemas = components["schemas"];

/** The closed set of error codes a gateway or a worker answers with. */
export type ErrorCode = Schemas["ErrorCode"];
export type User = Schemas["User"];
export type NewUser = Schemas["NewUser"];
export type Friend = Schemas["FriendEntry"];
/** A room of mine; `members` are user ids, at most 20 of them. */
export type Room = Schemas["RoomEntry"];
export type Message = Schemas["Message"];
/** In ascending order of `seq`; `next` is the `before` or `after` of the next page in the same direction. */
export type MessagePage = Schemas["History"];
/** What became of one id of an AddFriend request. */
export type FriendResult = Schemas["FriendOutcome"];
/** The body of a 202: `accepted: "unknown"` when the broker's acknowledgement is not known. */
export type Accepted = Schemas["Accepted"];
/** What every reply carries, beside the fields of its kind. */
export type ReplyBase = Schemas["ReplyFields"];
export type Reply = Schemas["ReplyBody"];
/** The conversations, by the name that replies carry. */
export type Kind = Reply["kind"];
export type ReplyOf<K extends Kind> = Extract<Reply, { kind: K }>;

/** Every named event of the stream with its data; without `cursor`, a heartbeat, whose id the browser keeps by itself. */
export type StreamEvents = Omit<Schemas["StreamEvents"], "cursor">;
export type StreamEventName = keyof StreamEvents;
export type HelloEvent = StreamEvents["hello"];
export type RoomEvent = StreamEvents["room"];
export type ResyncReason = StreamEvents["resync"]["reason"];

// Listed as keys, so that the compiler misses the one that is missing.
const events: Record<StreamEventName, true> = {
  hello: true,
  resumed: true,
  resync: true,
  reply: true,
  message: true,
  room: true,
  friend: true,
  status: true,
  slow: true,
  reconnect: true,
};

export const streamEventNames = Object.keys(events) as readonly StreamEventName[];

/** One event, as it is handed from the stream to its listeners and from tab to tab. */
export type StreamEvent = { [N in StreamEventName]: { name: N; data: StreamEvents[N] } }[StreamEventName];
