import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { guessedHeight, rowAt, sliceOf, topsOf, type Slice } from "../state/window";

/** Within this many pixels of the end, the reader is at the end and new messages keep it there. */
const endZonePx = 48;
/** This close to the oldest row, history is read on. */
const startZonePx = 600;

interface Options {
  /** The keys of all rows, in order. */
  keys: readonly string[];
  /** Called when the reader comes near the oldest row. */
  onNearStart: () => void;
}

interface Windowed {
  scroller: RefObject<HTMLDivElement | null>;
  list: RefObject<HTMLOListElement | null>;
  slice: Slice;
  /** Whether the newest row is in view. */
  atEnd: boolean;
  /** Whether the oldest row is near. */
  nearStart: () => boolean;
  onScroll: () => void;
  toEnd: () => void;
}

/**
 * Shows the part of a long list that is near the reader. Rows have any height and are measured as they appear;
 * the row the reader looks at stays where it is when rows are added or measured above it, and a reader at
 * the end stays there.
 */
export function useWindow({ keys, onNearStart }: Options): Windowed {
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const heights = useRef(new Map<string, number>()).current;
  const place = useRef({ atEnd: true, key: "", delta: 0 }).current;
  const [, again] = useState(0);
  const [atEnd, setAtEnd] = useState(true);
  const moved = useRef(() => {});

  const tops = topsOf(keys.map((key) => heights.get(key) ?? guessedHeight));
  const total = tops[keys.length] ?? 0;
  const viewport = scroller.current?.clientHeight ?? 800;
  const held = keys.indexOf(place.key);
  // Where the reader is, in terms of these rows; the element's own position is of the rows before.
  const position = place.atEnd ? total - viewport : held >= 0 ? (tops[held] ?? 0) - place.delta : (scroller.current?.scrollTop ?? 0);
  const slice = sliceOf(tops, position, viewport);

  // After every render, for every render may have put new rows in. It comes to rest: a row is measured once a width.
  // oxlint-disable-next-line react-hooks/exhaustive-deps
  useLayoutEffect(() => {
    const box = scroller.current;
    const rows = list.current;
    if (box === null || rows === null) return;
    let changed = false;
    for (const element of rows.children) {
      const key = element.getAttribute("data-key") ?? "";
      const height = element.getBoundingClientRect().height;
      if (Math.abs((heights.get(key) ?? -1) - height) > 0.5) {
        heights.set(key, height);
        changed = true;
      }
    }
    if (place.atEnd) box.scrollTop = box.scrollHeight;
    else {
      const anchor = rows.querySelector<HTMLElement>(`[data-key="${CSS.escape(place.key)}"]`);
      if (anchor !== null) box.scrollTop = anchor.offsetTop - place.delta;
    }
    // Moved back within the same frame (Home, as a page of history arrives), the box tells nobody: look for oneself.
    const set = box.scrollTop;
    requestAnimationFrame(() => {
      if (Math.abs(box.scrollTop - set) > 1) moved.current();
    });
    // A guess was wrong: what is near may be another part.
    if (changed) again((n) => n + 1);
  });

  useEffect(() => {
    const box = scroller.current;
    if (box === null) return;
    // Another width breaks lines elsewhere; another height moves the end.
    let width = box.clientWidth;
    const observer = new ResizeObserver(() => {
      if (box.clientWidth !== width) heights.clear();
      width = box.clientWidth;
      again((n) => n + 1);
    });
    observer.observe(box);
    return () => observer.disconnect();
  }, [heights]);

  const nearStart = () => scroller.current !== null && scroller.current.scrollTop < startZonePx;
  const onScroll = () => {
    const box = scroller.current;
    const rows = list.current;
    if (box === null || rows === null) return;
    place.atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < endZonePx;
    // By arithmetic, not by what is in the page: after a far jump the row that is there now is not in it yet.
    const base = rows.offsetTop - slice.above;
    const index = rowAt(tops, box.scrollTop - base);
    place.key = keys[index] ?? "";
    place.delta = (tops[index] ?? 0) + base - box.scrollTop;
    setAtEnd(place.atEnd);
    const next = sliceOf(tops, box.scrollTop - base, box.clientHeight);
    if (next.start !== slice.start || next.end !== slice.end) again((n) => n + 1);
    if (nearStart()) onNearStart();
  };
  moved.current = onScroll;

  return {
    scroller,
    list,
    slice,
    atEnd,
    nearStart,
    onScroll,
    toEnd: () => {
      place.atEnd = true;
      setAtEnd(true);
      again((n) => n + 1);
    },
  };
}
