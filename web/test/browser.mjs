// What the browser checks share: Chromium from the system and a page that fails on anything said in its console.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export async function launch(options = {}) {
  const executablePath = candidates.find((path) => path !== undefined && existsSync(path));
  if (executablePath === undefined) throw new Error("no Chromium found: install Debian's `chromium`, or name one in CHROMIUM");
  return chromium.launch({ executablePath, args: flags, headless: true, ...options });
}

/** Collects errors of a page: exceptions, broken policy, and requests to anywhere but `origin`. */
export function watch(page, origin) {
  const faults = [];
  page.on("pageerror", (error) => faults.push(`exception: ${error.message}`));
  page.on("console", (message) => {
    const text = message.text();
    // A 401 of the first look at the session is an answer, not a fault, and so is what a test cuts off.
    if (message.type() === "error" && !/Failed to load resource|net::ERR/.test(text)) faults.push(`console: ${text}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(origin)) faults.push(`third party: ${request.url()}`);
  });
  return faults;
}

export const id = (name) => `[data-testid="${name}"]`;

export async function logIn(page, user, password = "password1") {
  await page.fill(id("login-user"), user);
  await page.fill(id("login-password"), password);
  await page.click(id("login-submit"));
}

export async function live(page) {
  await page.waitForSelector(`${id("connection")}[data-state="live"]`);
}

/** Waits until `read` gives what is wanted. */
export async function until(read, wanted, ms = 60_000) {
  const end = Date.now() + ms;
  let seen;
  do {
    seen = await read();
    if (seen === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 30));
  } while (Date.now() < end);
  assert.equal(seen, wanted);
}

/** What axe calls serious or critical in the page as it stands. */
export async function serious(page) {
  // By the debugger, which the page's policy does not concern.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
}
