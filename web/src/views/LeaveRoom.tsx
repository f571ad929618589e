import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n";
import type { Room } from "../parley-client";
import { parley } from "../state/client";
import { leftRoom } from "../state/sync";
import { RequestNote } from "./RequestNote";
import { useSend } from "./use-send";

/** Asks whether a room is really to be left, and leaves it. `onClose` is called when the dialog is closed without. */
export function LeaveRoom({ room, title, onClose }: { room: Room; title: string; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const leave = useSend(
    (roomId: string, key?: string) => parley.leave(roomId, key),
    (_reply, roomId) => leftRoom(roomId),
  );
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="leave-title" aria-describedby="leave-text" data-testid="leave-dialog" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          leave.send(room.roomId);
        }}
      >
        <h2 id="leave-title" dir="auto">
          {t("leave.title", { name: title })}
        </h2>
        <p id="leave-text">{t("leave.text")}</p>
        <RequestNote request={leave.request} onRetry={leave.retry} />
        <div class="row end">
          <button type="button" data-testid="leave-cancel" onClick={() => dialog.current?.close()}>
            {t("app.cancel")}
          </button>
          <button type="submit" class="danger" data-testid="leave-submit" disabled={leave.busy}>
            {t("leave.submit")}
          </button>
        </div>
      </form>
    </dialog>
  );
}
