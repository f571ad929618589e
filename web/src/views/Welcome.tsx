import { t } from "../i18n";
import { Link } from "./Link";
import { useTitle } from "./use-place";

/** The main pane without a room. */
export function Welcome({ unknown }: { unknown: boolean }) {
  useTitle(unknown ? "" : t("nav.rooms"));
  return (
    <div class="welcome">
      <h1>{unknown ? t("app.notFound") : t("rooms.pick")}</h1>
      {unknown ? <Link to={{ view: "home" }}>{t("app.home")}</Link> : <p class="quiet">{t("rooms.pickHint")}</p>}
    </div>
  );
}
