import { t } from "../i18n";
import { Link } from "./Link";

/** On a phone, the way back to the list of rooms. */
export function BackLink() {
  return (
    <Link to={{ view: "home" }} class="icon-button back" aria-label={t("app.back")} data-testid="back">
      <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false">
        <path d="M12.5 4 6.5 10l6 6" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" />
      </svg>
    </Link>
  );
}
