// A real Chromium, driven by the web client's own playwright-core.
import { createRequire } from "node:module";

export function launch() {
  const { chromium } = createRequire(`${process.env.WEB}/`)("playwright-core");
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
}
