import { reason, t } from "../i18n";
import type { ParleyError } from "../parley-client";
import { clock, day, full } from "../i18n/time";
import type { Conversation, Pending } from "../state/conversation";
import { displayName } from "../state/friends";
import type { Row } from "../state/rows";
import { Avatar } from "./Avatar";

/** One message. Its text is text, whatever it looks like: nothing in it is ever read as markup. */
export function MessageRow({ row, talk, mine }: { row: Row; talk: Conversation; mine: boolean }) {
  const name = mine ? t("room.you") : displayName(row.writerId);
  const state = row.pending === undefined ? "sent" : stateOf(row.pending);
  return (
    <>
      {row.newDay && row.at !== undefined && (
        <h2 class="day">
          <span>{day(row.at)}</span>
        </h2>
      )}
      <article
        class={`message${mine ? " mine" : ""}${row.head ? " head" : ""}`}
        data-testid="message"
        data-state={state}
        data-writer={row.writerId}
        {...(row.seq === undefined ? {} : { "data-seq": String(row.seq) })}
      >
        {!mine && (row.head ? <Avatar id={row.writerId} name={name} small /> : <span class="avatar-gap" aria-hidden="true" />)}
        <div class="message-body">
          <p class={row.head ? "message-head" : "unseen"}>
            <strong dir="auto">{name}</strong>{" "}
            {row.at !== undefined && (
              <time dateTime={row.at} title={full(row.at)}>
                {clock(row.at)}
              </time>
            )}
          </p>
          <p class="bubble" dir="auto" data-testid="message-text">
            {row.text}
          </p>
          {row.pending !== undefined && (
            <PendingNote id={row.pending.id} state={state} error={row.pending.request?.error} talk={talk} />
          )}
        </div>
      </article>
    </>
  );
}

/** The states a message is shown in. */
function stateOf(pending: Pending): "pending" | "slow" | "unknown" | "failed" {
  const phase = pending.request?.phase;
  return phase === "slow" || phase === "unknown" || phase === "failed" ? phase : "pending";
}

interface NoteProps {
  id: string;
  state: string;
  error: ParleyError | undefined;
  talk: Conversation;
}

function PendingNote({ id, state, error, talk }: NoteProps) {
  if (state === "pending" || state === "slow") {
    return <p class="pending-note quiet">{t(state === "slow" ? "msg.slow" : "msg.sending")}</p>;
  }
  return (
    <p class="pending-note bad" role="alert">
      {state === "unknown" ? t("msg.unknown") : t("msg.failed", { reason: reason(error) })}{" "}
      <button type="button" class="link" data-testid="message-retry" onClick={() => talk.retry(id)}>
        {state === "unknown" ? t("req.check") : t("req.retry")}
      </button>
      {state === "failed" && (
        <>
          {" "}
          <button type="button" class="link" data-testid="message-discard" onClick={() => talk.discard(id)}>
            {t("req.discard")}
          </button>
        </>
      )}
    </p>
  );
}
