import { t } from "../i18n";
import { Icon } from "./Icon";
import { Link } from "./Link";

/** On a phone, the way back to the list of rooms. */
export function BackLink() {
  return (
    <Link to={{ view: "home" }} class="icon-button back" aria-label={t("app.back")} data-testid="back">
      <Icon name="back" />
    </Link>
  );
}
