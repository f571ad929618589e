import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";

/** As with changes: after this it is no longer as usual. */
const slowAfterMs = 1_000;

/** Says that something is being read, and after a second that the server takes its time. */
export function Waiting({ text }: { text: string }) {
  const [slow, setSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setSlow(true), slowAfterMs);
    return () => clearTimeout(timer);
  }, []);
  return (
    <p class="quiet" data-testid="waiting" data-slow={String(slow)}>
      <span class="spinner" aria-hidden="true" /> {slow ? t("req.slow") : text}
    </p>
  );
}
