import { useState } from "preact/hooks";
import { reason, t } from "../i18n";
import type { Kind, TrackedRequest } from "../parley-client";
import { useRequest } from "./use-request";

interface Props<K extends Kind> {
  request: TrackedRequest<K> | undefined;
  /** Said when it is done; nothing is said without. */
  done?: string;
  /** Shown with a failure that another try may mend. */
  onRetry?: () => void;
}

/** Says in plain words where a request stands, and offers what can be done about it. */
export function RequestNote<K extends Kind>({ request: given, done, onRetry }: Props<K>) {
  const request = useRequest(given);
  const [checking, setChecking] = useState(false);
  const check = () => {
    setChecking(true);
    void request?.check().finally(() => setChecking(false));
  };
  return (
    <div class="request-note" role="status" data-testid="request-note" data-phase={request?.phase ?? "none"}>
      {request === undefined ? null : (
        <>
          {(request.phase === "sending" || request.phase === "waiting") && (
            <p class="quiet">
              <span class="spinner" aria-hidden="true" /> {t("req.sending")}
            </p>
          )}
          {request.phase === "slow" && (
            <p class="note warn">
              <span class="spinner" aria-hidden="true" /> {t("req.slow")}
            </p>
          )}
          {request.phase === "unknown" && (
            <p class="note warn">
              {t("req.unknown")}{" "}
              <button type="button" class="link" disabled={checking} onClick={check}>
                {checking ? t("req.checking") : t("req.check")}
              </button>
            </p>
          )}
          {request.phase === "failed" && (
            <p class="note bad">
              {t("req.failed", { reason: reason(request.error) })}{" "}
              {onRetry !== undefined && (
                <button type="button" class="link" onClick={onRetry}>
                  {t("req.retry")}
                </button>
              )}
            </p>
          )}
          {request.phase === "done" && done !== undefined && <p class="note good">{done}</p>}
        </>
      )}
    </div>
  );
}
