import { t, type TextKey } from "../i18n";
import { cancelLogin, loginRequest, loginStep } from "../state/session";
import { Gate } from "./Gate";
import { RequestNote } from "./RequestNote";
import { useRequest } from "./use-request";

const steps: readonly ["send" | "check" | "open", TextKey][] = [
  ["send", "login.step.send"],
  ["check", "login.step.check"],
  ["open", "login.step.open"],
];

/** The loading window of a login: it stays until the event says that the session is open, or why not. */
export function SigningIn() {
  const request = useRequest(loginRequest.value);
  const now = steps.findIndex(([step]) => step === loginStep.value);
  return (
    <Gate title={t("login.progress")}>
      <div data-testid="signing-in" aria-busy="true">
        <ol class="steps" aria-live="polite">
          {steps.map(([step, text], i) => (
            <li key={step} data-state={i < now ? "done" : i === now ? "now" : "later"}>
              <span class="step-mark" aria-hidden="true" />
              {t(text)}
            </li>
          ))}
        </ol>
        {request?.phase === "slow" && <p class="note warn">{t("login.slow")}</p>}
        {request?.phase === "unknown" && <RequestNote request={request} />}
        <button type="button" class="wide" onClick={cancelLogin}>
          {t("app.cancel")}
        </button>
      </div>
    </Gate>
  );
}
