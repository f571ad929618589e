import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { reason, t } from "../i18n";
import type { Conversation } from "../state/conversation";
import { markRead } from "../state/read-marks";
import { rowsOf } from "../state/rows";
import { MessageRow } from "./MessageRow";
import { useWindow } from "./use-window";
import { Waiting } from "./Waiting";

/** The messages of a room, oldest first; history comes as one scrolls up. */
export function MessageList({ talk, title, me }: { talk: Conversation; title: string; me: string }) {
  const revision = talk.revision.value;
  // oxlint-disable-next-line react-hooks/exhaustive-deps -- the revision stands for all that the conversation holds
  const rows = useMemo(() => rowsOf(talk.log.messages, talk.pending, me), [revision, talk, me]);
  const { reachedStart, lastSeq } = talk.log;
  const reading = talk.reading.value;
  const view = useWindow({ keys: rows.map((row) => row.key), onNearStart: () => void talk.older() });
  const visible = useVisible();
  const unseen = useUnseen(view.atEnd, lastSeq ?? 0);

  useEffect(() => {
    if (visible && view.atEnd && lastSeq !== undefined) markRead(talk.roomId, lastSeq);
  }, [visible, view.atEnd, lastSeq, talk]);
  useEffect(() => {
    // Read on also without a scroll: a page may not fill the window, and a reader may stand at its very top.
    if (reading === "idle" && !reachedStart && view.nearStart()) void talk.older();
  }, [revision, reading, reachedStart, talk, view]);

  const { slice } = view;
  return (
    <div class="message-frame">
      <div
        class="messages"
        ref={view.scroller}
        onScroll={view.onScroll}
        role="region"
        // Scrolled by keyboard, so it has to be reachable by keyboard.
        // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        tabIndex={0}
        aria-label={t("room.messages", { name: title })}
        aria-busy={reading === "newest" || reading === "older"}
        data-testid="messages"
      >
        <div class="history-note">
          {reading === "older" || reading === "newest" ? (
            <Waiting key={reading} text={t(reading === "older" ? "room.older" : "app.loading")} />
          ) : reading === "failed" ? (
            <p class="note bad">
              {t("room.olderFailed")} {reason(talk.error.value)}{" "}
              <button type="button" class="link" onClick={() => void talk.older()}>
                {t("req.retry")}
              </button>
            </p>
          ) : reachedStart ? (
            <p class="quiet">{t(rows.length === 0 ? "room.empty" : "room.start")}</p>
          ) : null}
        </div>
        <div style={{ height: `${slice.above}px` }} />
        <ol ref={view.list}>
          {rows.slice(slice.start, slice.end).map((row) => (
            <li key={row.key} data-key={row.key}>
              <MessageRow row={row} talk={talk} mine={row.writerId === me} />
            </li>
          ))}
        </ol>
        <div style={{ height: `${slice.below}px` }} />
      </div>
      {!view.atEnd && (
        <button type="button" class="to-end" data-testid="to-end" onClick={view.toEnd}>
          {unseen > 0 ? t("room.newBelow", { n: unseen }) : t("room.latest")}
        </button>
      )}
    </div>
  );
}

/** How many messages came while the reader was up in history. */
function useUnseen(atEnd: boolean, lastSeq: number): number {
  const seen = useRef(lastSeq);
  if (atEnd) seen.current = lastSeq;
  return Math.max(0, lastSeq - seen.current);
}

/** Whether the page is seen: what arrives in a hidden tab is not read. */
function useVisible(): boolean {
  const [visible, setVisible] = useState(document.visibilityState === "visible");
  useEffect(() => {
    const look = () => setVisible(document.visibilityState === "visible");
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  return visible;
}
