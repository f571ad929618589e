import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { totalUnread } from "../state/rooms";

/** Names the window after the place, with the number of unread messages before it. */
export function useTitle(place: string): void {
  const unread = totalUnread.value;
  useEffect(() => {
    document.title = `${unread > 0 ? `(${unread}) ` : ""}${place === "" ? "" : `${place} · `}Parley`;
  }, [place, unread]);
}

/** Puts the focus on a heading when its view appears, so that a reader of the screen knows where they are. */
export function useArrival(): RefObject<HTMLHeadingElement | null> {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return heading;
}
