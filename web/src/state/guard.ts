import { effect } from "@preact/signals";
import { go, pathOf, route, safeNext } from "./route";
import { phase } from "./session";

/**
 * Keeps address and session in step: without a session only login and sign-up are to be seen, and the place
 * that was asked for is kept to go on to; with one, those two lead on.
 */
export function startGuard(): void {
  effect(() => {
    const at = route.value;
    const outside = at.view === "login" || at.view === "signup";
    switch (phase.value) {
      case "anonymous":
      case "ended":
        if (!outside) go({ view: "login", next: safeNext(pathOf(at)) }, true);
        break;
      case "left":
        if (!outside) go({ view: "login", next: undefined }, true);
        break;
      case "signed-in":
        if (outside) go(at.next ?? "/", true);
        break;
      default:
        break;
    }
  });
}
