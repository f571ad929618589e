/**
 * The shapes of Parley's HTTP API and of its event stream. All dates are RFC 3339 text; ids are text;
 * a `seq` is the dense number of a message in its room, from 1.
 */

/** The closed set of error codes a gateway or a worker answers with. */
export const errorCodes = [
  "invalid_request",
  "unauthenticated",
  "wrong_credentials",
  "user_exists",
  "user_not_found",
  "room_not_found",
  "not_a_member",
  "not_a_friend",
  "too_large",
  "rate_limited",
  "idempotency_mismatch",
  "deadline_exceeded",
  "unavailable",
  "internal",
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** The nine conversations, by the name that replies carry. */
export type Kind =
  | "Login"
  | "Logout"
  | "ListRooms"
  | "ListFriends"
  | "AddUser"
  | "ChangeStatus"
  | "AddRoom"
  | "AddChat"
  | "AddFriend";

export interface User {
  userId: string;
  email: string;
  userName: string;
  userStatus: string;
  joinDate?: string | null;
  loginDate?: string | null;
  logoutDate?: string | null;
}

export interface Friend {
  userId: string;
  userName: string;
  userStatus: string;
}

export interface Room {
  roomId: string;
  roomName: string;
  memberCount: number;
  /** User ids, at most 20 of them. */
  members: string[];
  lastSeq: number;
  lastMessage: string | null;
  lastAt: string | null;
  unread: number;
}

export interface Message {
  roomId: string;
  seq: number;
  writerId: string;
  message: string;
  createdAt: string;
  requestId?: string;
}

/** What became of one id of an AddFriend request. */
export type FriendResult = "added" | "already" | "unknown" | "self";

/** What every reply carries, beside the fields of its kind. */
export interface ReplyBase {
  requestId: string;
  userId?: string | null;
  isSuccess: boolean;
  errorCode?: ErrorCode | null;
  errorMessage?: string | null;
  /** Seconds, with `rate_limited`. */
  retryAfter?: number | null;
}

export interface ReplyFields {
  Login: { user?: User | null };
  Logout: object;
  ListRooms: { rooms?: Room[] | null; next?: string | null };
  ListFriends: { friend?: Friend[] | null; next?: string | null };
  AddUser: { user?: User | null };
  ChangeStatus: { status?: string | null };
  AddRoom: {
    roomId?: string | null;
    roomName?: string | null;
    memberCount?: number | null;
    members?: string[] | null;
    createdAt?: string | null;
  };
  AddChat: {
    roomId?: string | null;
    seq?: number | null;
    message?: string | null;
    createdAt?: string | null;
  };
  AddFriend: { friendId?: { userId: string; result: FriendResult }[] | null };
}

export type ReplyOf<K extends Kind> = ReplyBase & { kind: K } & ReplyFields[K];
export type Reply = { [K in Kind]: ReplyOf<K> }[Kind];

/** The body of a 202: `accepted: "unknown"` when the broker's acknowledgement is not known. */
export interface Accepted {
  requestId: string;
  deadline: string;
  accepted?: "unknown";
}

export interface MessagePage {
  /** In ascending order of `seq`. */
  messages: Message[];
  /** The `before` or `after` of the next page in the same direction; absent at the end. */
  next?: number | null;
}

export interface HelloEvent {
  userId?: string | null;
  sessionKey?: string;
  serverTime?: string;
}

export interface RoomEvent {
  roomId: string;
  roomName: string;
  memberCount: number;
  members: string[];
  joined?: string[] | null;
  left?: string[] | null;
  seq: number;
  version: number;
}

/** `userId` has a new friend; `version` is that of the friend's own state. */
export interface FriendEvent {
  userId: string;
  friend: Friend;
  version: number;
}

export interface StatusEvent {
  userId: string;
  status: string;
  version: number;
}

export type ResyncReason = "expired" | "foreign" | "unknown" | "overflow";

/** Every named event of the stream with its data. */
export interface StreamEvents {
  hello: HelloEvent;
  resumed: { replayed: number };
  resync: { reason: ResyncReason };
  reply: Reply;
  message: Message;
  room: RoomEvent;
  friend: FriendEvent;
  status: StatusEvent;
  slow: { reason: string };
  reconnect: { afterMs: number };
}

export type StreamEventName = keyof StreamEvents;

export const streamEventNames: readonly StreamEventName[] = [
  "hello",
  "resumed",
  "resync",
  "reply",
  "message",
  "room",
  "friend",
  "status",
  "slow",
  "reconnect",
];

/** One event, as it is handed from the stream to its listeners and from tab to tab. */
export type StreamEvent = { [N in StreamEventName]: { name: N; data: StreamEvents[N] } }[StreamEventName];
