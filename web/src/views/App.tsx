import { useEffect } from "preact/hooks";
import { language, t } from "../i18n";
import { route } from "../state/route";
import { phase } from "../state/session";
import { Login } from "./Login";
import { Shell } from "./Shell";
import { SigningIn } from "./SigningIn";
import { SignUp } from "./SignUp";
import { Splash } from "./Splash";

/** Chooses what is to be seen by the state of the session. */
export function App() {
  const lang = language.value;
  useEffect(() => {
    document.documentElement.lang = lang;
  }, [lang]);

  switch (phase.value) {
    case "starting":
      return <Splash text={t("app.starting")} />;
    case "unreachable":
      return <Splash text={t("app.unreachable")} />;
    case "signing-in":
      return <SigningIn />;
    case "signed-in":
      return <Shell />;
    default:
      return route.value.view === "signup" ? <SignUp /> : <Login />;
  }
}
