import { Parley } from "../parley-client";

/** The page's one session with the gateway that served it. */
export const parley = new Parley();
