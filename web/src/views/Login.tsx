import { useState } from "preact/hooks";
import { t } from "../i18n";
import { route } from "../state/route";
import { logIn, loginRequest, logoutUnknown, phase } from "../state/session";
import { normalId, passwordFault, userIdFault } from "../state/validate";
import { Field } from "./Field";
import { focusFirstFault } from "./focus";
import { Gate } from "./Gate";
import { Link } from "./Link";
import { RequestNote } from "./RequestNote";

/** The login form, with the reason why one is here. */
export function Login() {
  const [user, setUser] = useState(loginRequest.value === undefined ? "" : lastUser);
  const [password, setPassword] = useState("");
  const [tried, setTried] = useState(false);
  const at = route.value;
  const next = at.view === "login" ? at.next : undefined;
  const userFault = tried ? userIdFault(user) : undefined;
  const wordFault = tried ? passwordFault(password) : undefined;

  const submit = (event: Event) => {
    event.preventDefault();
    setTried(true);
    if (userIdFault(user) !== undefined || passwordFault(password) !== undefined) {
      focusFirstFault(event.currentTarget);
      return;
    }
    lastUser = normalId(user);
    void logIn(lastUser, password);
  };

  return (
    <Gate title={t("login.title")}>
      <Notice next={next} />
      <form onSubmit={submit} noValidate>
        <Field
          label={t("login.user")}
          value={user}
          onValue={setUser}
          testId="login-user"
          fault={userFault && t(userFault)}
          input={{ autocomplete: "username", autocapitalize: "none", spellcheck: false, name: "username" }}
        />
        <Field
          label={t("login.password")}
          value={password}
          onValue={setPassword}
          testId="login-password"
          fault={wordFault && t(wordFault)}
          input={{ type: "password", autocomplete: "current-password", name: "password" }}
        />
        <RequestNote request={loginRequest.value} />
        <button type="submit" class="primary wide" data-testid="login-submit">
          {t("login.submit")}
        </button>
      </form>
      <p class="aside">
        {t("login.noAccount")}{" "}
        <Link to={{ view: "signup", next }} data-testid="go-signup">
          {t("login.toSignup")}
        </Link>
      </p>
    </Gate>
  );
}

/** The user id of the last try, so that a refused password does not cost typing both again. */
let lastUser = "";

function Notice({ next }: { next: string | undefined }) {
  if (phase.value === "ended") {
    return (
      <p class="note warn" role="alert" data-testid="connection" data-state="signed-out">
        {t("login.ended")}
      </p>
    );
  }
  if (phase.value === "left") {
    return (
      <p class="note" role="status">
        {logoutUnknown.value ? t("me.logoutUnknown") : t("login.loggedOut")}
      </p>
    );
  }
  return next === undefined ? null : <p class="note">{t("login.continue")}</p>;
}
