import { computed, signal } from "@preact/signals";

/**
 * Every place of the page. Places are paths behind the `#` of the address: the server knows one page at `/` and answers
 * any other path with 404, and a place is never sent to it.
 */
export type Route =
  | { view: "home" }
  | { view: "friends" }
  | { view: "me" }
  | { view: "new-room"; friend: string | undefined }
  | { view: "room"; roomId: string }
  | { view: "login"; next: string | undefined }
  | { view: "signup"; next: string | undefined }
  | { view: "unknown" };

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u;
const userId = /^[a-z0-9._-]{2,32}$/u;

/** Reads a path with its query. Anything that is not a place of this page is `unknown`. */
export function parseRoute(address: string): Route {
  let url: URL;
  try {
    url = new URL(address, "http://page.invalid");
  } catch {
    return { view: "unknown" };
  }
  if (url.origin !== "http://page.invalid") return { view: "unknown" };
  const query = url.searchParams;
  switch (url.pathname) {
    case "/":
      return { view: "home" };
    case "/friends":
      return { view: "friends" };
    case "/me":
      return { view: "me" };
    case "/new": {
      const friend = query.get("with");
      return { view: "new-room", friend: friend !== null && userId.test(friend) ? friend : undefined };
    }
    case "/login":
      return { view: "login", next: safeNext(query.get("next")) };
    case "/signup":
      return { view: "signup", next: safeNext(query.get("next")) };
    default: {
      const roomId = /^\/rooms\/([^/]+)$/u.exec(url.pathname)?.[1];
      return roomId !== undefined && uuid.test(roomId) ? { view: "room", roomId } : { view: "unknown" };
    }
  }
}

/**
 * The place to go on to after login, or undefined. What is kept is never the given text but the path
 * of the place it names, so that no address outside this page can be reached by it.
 */
export function safeNext(given: string | null): string | undefined {
  if (given === null || !given.startsWith("/") || given.startsWith("//")) return undefined;
  const route = parseRoute(given);
  if (route.view === "unknown" || route.view === "login" || route.view === "signup") return undefined;
  const path = pathOf(route);
  return path === "/" ? undefined : path;
}

/** The path of a place. */
export function pathOf(route: Route): string {
  switch (route.view) {
    case "home":
    case "unknown":
      return "/";
    case "friends":
      return "/friends";
    case "me":
      return "/me";
    case "new-room":
      return route.friend === undefined ? "/new" : `/new?with=${encodeURIComponent(route.friend)}`;
    case "room":
      return `/rooms/${encodeURIComponent(route.roomId)}`;
    case "login":
    case "signup":
      return `/${route.view}${route.next === undefined ? "" : `?next=${encodeURIComponent(route.next)}`}`;
  }
}

/** The address of a place, for links. */
export function hrefOf(route: Route): string {
  return `#${pathOf(route)}`;
}

function here(): string {
  const hash = typeof location === "undefined" ? "" : location.hash;
  return hash.startsWith("#/") ? hash.slice(1) : "/";
}

const address = signal(here());

export const route = computed<Route>(() => parseRoute(address.value));

/** Goes to a place; `replace` leaves no entry in the history. */
export function go(to: Route | string, replace = false): void {
  const path = typeof to === "string" ? to : pathOf(to);
  if (path === here()) return;
  if (replace) history.replaceState(null, "", `#${path}`);
  else history.pushState(null, "", `#${path}`);
  address.value = path;
}

/** Follows the browser's back and forward buttons, and addresses that are typed. */
export function followHistory(): void {
  addEventListener("popstate", () => {
    address.value = here();
  });
}
