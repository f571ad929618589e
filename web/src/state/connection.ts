import { computed, signal } from "@preact/signals";
import type { ParleyError } from "../parley-client";
import { parley } from "./client";
import { friendsRead } from "./friends";
import { roomsRead } from "./rooms";
import { phase } from "./session";

const stream = signal(parley.stream.state);
parley.stream.states.on((state) => {
  stream.value = state;
});

/** How many reads are under way that bring this page up to date. */
export const catchingUp = signal(0);

/** Why the last of these reads failed, while another try is waited for. */
export const readError = signal<ParleyError | undefined>(undefined);

export type Connection = "live" | "reconnecting" | "resync" | "signed-out";

/** What the page can honestly say of its connection; undefined while nobody is signed in. */
export const connection = computed<Connection | undefined>(() => {
  if (phase.value === "ended") return "signed-out";
  if (phase.value !== "signed-in") return undefined;
  if (stream.value !== "live") return "reconnecting";
  return catchingUp.value > 0 || !roomsRead.value || !friendsRead.value ? "resync" : "live";
});
