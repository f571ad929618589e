import { render } from "preact";
import { parley } from "./state/client";
import { startGuard } from "./state/guard";
import { followHistory } from "./state/route";
import { startSync } from "./state/sync";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/gate.css";
import "./styles/lists.css";
import "./styles/layout.css";
import "./styles/room.css";
import { App } from "./views/App";

followHistory();
startSync();
startGuard();

// A page in the back-forward cache must not keep the stream from the other tabs; when it comes back it starts afresh.
addEventListener("pagehide", () => parley.dispose());
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

const root = document.getElementById("app");
if (root !== null) render(<App />, root);
