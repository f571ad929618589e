import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import type { Conversation } from "../state/conversation";
import { messageBytes, mostMessageBytes } from "../state/validate";

/** What was typed and not sent, by room, for as long as the page lives. */
const drafts = new Map<string, string>();

/** The place to write. Enter sends; Shift+Enter, and Enter within a composition (Korean, Japanese, Chinese), do not. */
export function Composer({ talk, title, disabled }: { talk: Conversation; title: string; disabled: boolean }) {
  const [text, setText] = useState(drafts.get(talk.roomId) ?? "");
  const area = useRef<HTMLTextAreaElement>(null);
  const bytes = messageBytes(text);
  const tooLong = bytes > mostMessageBytes;

  useEffect(() => {
    // A finger would only get the keyboard thrown over the messages; there the room's heading is the place to be.
    if (matchMedia("(pointer: fine)").matches) area.current?.focus();
    else document.querySelector<HTMLElement>(".room-title h1")?.focus();
  }, []);
  useEffect(() => {
    drafts.set(talk.roomId, text);
    const box = area.current;
    if (box === null) return;
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight}px`;
  }, [text, talk]);

  const send = () => {
    if (disabled || bytes === 0 || tooLong) return;
    talk.send(text.replaceAll("\0", "").trim());
    setText("");
    area.current?.focus();
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-row">
        <textarea
          ref={area}
          rows={1}
          dir="auto"
          value={text}
          disabled={disabled}
          data-testid="message-input"
          aria-label={t("room.input", { name: title })}
          aria-describedby="composer-hint"
          aria-invalid={tooLong}
          placeholder={t("room.input", { name: title })}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
        <button type="submit" class="primary send" data-testid="message-send" disabled={disabled || bytes === 0 || tooLong}>
          {t("room.send")}
        </button>
      </div>
      <p id="composer-hint" class={tooLong ? "fault" : "hint"} role={tooLong ? "alert" : undefined}>
        {tooLong ? t("valid.message", { n: bytes }) : t("room.inputHint")}
      </p>
    </form>
  );
}
