import { signal } from "@preact/signals";
import { ParleyError, type NewUser, type TrackedRequest, type User } from "../parley-client";
import { parley } from "./client";
import { go, route } from "./route";

/**
 * `ended`: was signed in, and the session ended without the user's doing here.
 * `left`: the user has logged out, in this or another tab.
 */
export type SessionPhase = "starting" | "unreachable" | "anonymous" | "signing-in" | "signed-in" | "left" | "ended";

export const phase = signal<SessionPhase>("starting");
export const me = signal<User | undefined>(undefined);
/** The login under way, or the one that failed. */
export const loginRequest = signal<TrackedRequest<"Login"> | undefined>(undefined);
/** How far the login under way has come. */
export const loginStep = signal<"send" | "check" | "open">("send");
/** Set while a logout everywhere is not known to have taken effect. */
export const logoutUnknown = signal(false);

const firstRetryMs = 1_000;
const longestRetryMs = 15_000;
/** After the reply, the stream's second hello comes within moments; without it, the session is asked for. */
const helloWaitMs = 3_000;
/** How long the page waits for the reply to a logout; the cookie is gone from the 202 on. */
const logoutWaitMs = 4_000;

/** What the rest of the state does at the two ends of a session. */
interface Hooks {
  entered(): void;
  gone(): void;
}
let hooks: Hooks = { entered: () => undefined, gone: () => undefined };

/** Finds out whether there is a session, and goes on trying while the gateway is away. */
export async function start(given: Hooks): Promise<void> {
  hooks = given;
  parley.events.on((event) => {
    if (event.name === "hello") heardHello(event.data.userId ?? undefined);
  });
  parley.stream.states.on((state) => {
    if (state === "signed-out") leave("ended");
  });
  parley.stream.notes.on((note) => {
    if (isNote(note, "logged-out") && phase.value === "signed-in") leave("left");
    if (isNote(note, "logged-in") && phase.value !== "signing-in") void adopt();
  });
  for (let wait = firstRetryMs; ; wait = Math.min(longestRetryMs, wait * 2)) {
    try {
      const user = await parley.me();
      if (phase.value !== "starting" && phase.value !== "unreachable") return;
      if (user === undefined) phase.value = "anonymous";
      else enter(user);
      return;
    } catch {
      phase.value = "unreachable";
      await delay(wait);
    }
  }
}

/** Logs in; the loading window stays until the session is open or refused. */
export async function logIn(userId: string, password: string): Promise<void> {
  phase.value = "signing-in";
  loginStep.value = "send";
  const request = parley.login(userId, password);
  loginRequest.value = request;
  request.changes.on(() => {
    if (request.requestId !== undefined && loginStep.value === "send") loginStep.value = "check";
  });
  try {
    const reply = await request.result;
    if (!isCurrent(request)) return;
    loginStep.value = "open";
    if (parley.stream.userId !== userId) await helloOf(userId);
    const user = reply.user ?? (await confirmed(request));
    if (isCurrent(request) && user !== undefined) {
      enter(user);
      parley.stream.note("logged-in");
    }
  } catch {
    // The request itself holds the reason, and the form shows it.
    if (isCurrent(request)) stopLogin();
  }
}

/** Creates an account. Its reply comes on the stream, which an anonymous page keeps open only for it. */
export function signUp(user: NewUser, key?: string): TrackedRequest<"AddUser"> {
  const request = parley.signUp(user, key);
  request.changes.on(() => {
    if (request.settled && phase.value !== "signed-in" && phase.value !== "signing-in") parley.stream.close();
  });
  return request;
}

/** Gives the login up. Should it succeed all the same, the next visit finds the session open. */
export function cancelLogin(): void {
  loginRequest.value = undefined;
  stopLogin();
}

function stopLogin(): void {
  phase.value = "anonymous";
  parley.stream.close();
}

function isCurrent(request: TrackedRequest<"Login">): boolean {
  return phase.value === "signing-in" && loginRequest.value === request;
}

function helloOf(userId: string): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stop();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, helloWaitMs);
    const stop = parley.events.on((event) => {
      if (event.name === "hello" && event.data.userId === userId) done();
    });
  });
}

/** Asks for the session until it is there: it was opened, but a read may be a moment behind. */
async function confirmed(request: TrackedRequest<"Login">): Promise<User | undefined> {
  for (let wait = 200; isCurrent(request); wait = Math.min(5_000, wait * 2)) {
    const user = await parley.me().catch(() => undefined);
    if (user !== undefined) return user;
    await delay(wait);
  }
  return undefined;
}

function enter(user: User): void {
  me.value = user;
  phase.value = "signed-in";
  loginRequest.value = undefined;
  logoutUnknown.value = false;
  parley.stream.open();
  hooks.entered();
  const at = route.value;
  if (at.view === "login" || at.view === "signup") go(at.next ?? "/", true);
}

/** Another tab has logged in: this one takes the session over. */
async function adopt(): Promise<void> {
  const user = await parley.me().catch(() => undefined);
  if (user === undefined) return;
  if (me.value !== undefined && me.value.userId !== user.userId) leave("left");
  if (phase.value !== "signed-in") enter(user);
}

function heardHello(userId: string | undefined): void {
  if (phase.value === "signing-in" && userId !== undefined) {
    // The reply may have been lost; the open session says the same.
    const request = loginRequest.value;
    if (request?.settled === false && request.requestId !== undefined) void finishByHello(request);
    return;
  }
  if (phase.value !== "signed-in" || userId === me.value?.userId) return;
  // The stream speaks of another session than this page shows: the cookie decides.
  void parley
    .me()
    .then((user) => {
      if (phase.value !== "signed-in") return;
      if (user === undefined) leave("ended");
      else if (user.userId !== me.value?.userId) {
        leave("left");
        enter(user);
      }
    })
    .catch(() => undefined);
}

async function finishByHello(request: TrackedRequest<"Login">): Promise<void> {
  await delay(helloWaitMs);
  if (!isCurrent(request) || request.settled) return;
  const user = await confirmed(request);
  if (user !== undefined && isCurrent(request)) enter(user);
}

let loggingOut = false;

/** Logs out. The page waits a little for the reply and goes to the login form in any case. */
export function logOut(everywhere: boolean): TrackedRequest<"Logout"> {
  loggingOut = true;
  const request = parley.logout(everywhere);
  const accepted = new Promise<void>((resolve) => {
    request.changes.on(() => {
      if (request.requestId !== undefined || request.settled) resolve();
    });
  });
  const settled = Promise.race([request.result, accepted.then(() => delay(logoutWaitMs))]);
  const finished = settled.finally(() => {
    loggingOut = false;
  });
  void finished.then(
    () => {
      logoutUnknown.value = everywhere && !request.settled;
      if (phase.value === "signed-in" || phase.value === "ended") leave("left");
      parley.stream.note("logged-out");
    },
    (cause: unknown) => {
      // Whoever has no session any more is logged out.
      if (cause instanceof ParleyError && cause.code === "unauthenticated") leave("left");
    },
  );
  return request;
}

function leave(to: "left" | "ended"): void {
  if (to === "ended" && phase.value !== "signed-in") return;
  // The stream may tell of the end that was asked for here before the reply does.
  phase.value = loggingOut ? "left" : to;
  me.value = undefined;
  parley.stream.close();
  parley.forget();
  hooks.gone();
}

function isNote(note: unknown, name: string): boolean {
  return note === name;
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
