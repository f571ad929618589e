import { useState } from "preact/hooks";
import { t } from "../i18n";
import type { NewUser } from "../parley-client";
import { route } from "../state/route";
import { logIn, signUp } from "../state/session";
import { emailFault, nameFault, normalId, passwordFault, userIdFault } from "../state/validate";
import { Field } from "./Field";
import { focusFirstFault } from "./focus";
import { Gate } from "./Gate";
import { Link } from "./Link";
import { RequestNote } from "./RequestNote";
import { useSend } from "./use-send";

/** The sign-up form. When the account is there, the login follows by itself. */
export function SignUp() {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [email, setEmail] = useState("");
  const [name, setName] = useState("");
  const [tried, setTried] = useState(false);
  const { request, busy, send, retry } = useSend(
    (account: NewUser, key?: string) => signUp(account, key),
    (_reply, account) => void logIn(account.userId, account.password),
  );
  const at = route.value;
  const next = at.view === "signup" ? at.next : undefined;
  const faults = {
    user: userIdFault(user),
    password: passwordFault(password),
    email: emailFault(email),
    name: nameFault(name),
  };
  const shown = (fault: (typeof faults)[keyof typeof faults]) => (tried && fault !== undefined ? t(fault) : undefined);

  const submit = (event: Event) => {
    event.preventDefault();
    setTried(true);
    if (Object.values(faults).some((fault) => fault !== undefined)) focusFirstFault(event.currentTarget);
    else send({ userId: normalId(user), password, email: email.trim(), userName: name.trim() });
  };

  return (
    <Gate title={t("signup.title")}>
      <form onSubmit={submit} noValidate>
        <Field
          label={t("signup.user")}
          hint={t("signup.userHint")}
          value={user}
          onValue={setUser}
          testId="signup-user"
          fault={shown(faults.user)}
          input={{ autocomplete: "username", autocapitalize: "none", spellcheck: false, name: "username" }}
        />
        <Field
          label={t("signup.name")}
          hint={t("signup.nameHint")}
          value={name}
          onValue={setName}
          testId="signup-name"
          fault={shown(faults.name)}
          input={{ autocomplete: "name", name: "name" }}
        />
        <Field
          label={t("signup.email")}
          value={email}
          onValue={setEmail}
          testId="signup-email"
          fault={shown(faults.email)}
          input={{ type: "email", autocomplete: "email", name: "email" }}
        />
        <Field
          label={t("signup.password")}
          hint={t("signup.passwordHint")}
          value={password}
          onValue={setPassword}
          testId="signup-password"
          fault={shown(faults.password)}
          input={{ type: "password", autocomplete: "new-password", name: "password" }}
        />
        <RequestNote request={request} done={t("signup.done")} onRetry={retry} />
        <button type="submit" class="primary wide" data-testid="signup-submit" disabled={busy}>
          {t("signup.submit")}
        </button>
      </form>
      <p class="aside">
        {t("signup.haveAccount")}{" "}
        <Link to={{ view: "login", next }} data-testid="go-login">
          {t("signup.toLogin")}
        </Link>
      </p>
    </Gate>
  );
}
