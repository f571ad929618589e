// The browser's own history: a page that is put aside whole and brought back (the back-forward cache). Playwright switches that
// cache off, so this has a browser of its own that keeps it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launch, live, logIn, until } from "./browser.mjs";
import { startMock } from "./mock-gateway.mjs";

test("a page in the back-forward cache holds no stream, and starts afresh when it comes back", async () => {
  const mock = await startMock();
  mock.addUser("mina", "Mina", "here");
  const browser = await launch({ ignoreDefaultArgs: ["--disable-back-forward-cache"] });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    // Told by the page itself, before it loads itself anew.
    const returned = [];
    await page.exposeFunction("returned", (persisted) => returned.push(persisted));
    await page.addInitScript(() => addEventListener("pageshow", (event) => globalThis.returned(event.persisted), true));
    await page.goto(`${mock.url}/`);
    await logIn(page, "mina");
    await live(page);
    await until(async () => [...mock.streams].length, 1);
    await page.goto(`${mock.url}/somewhere-else`);
    await until(async () => [...mock.streams].length, 0);
    await page.goBack();
    await live(page);
    assert.ok(returned.includes(true), "the browser kept the page");
    const kind = () => page.evaluate(() => performance.getEntriesByType("navigation")[0].type);
    await until(kind, "reload");
    await until(async () => [...mock.streams].length, 1);
  } finally {
    await browser.close();
    mock.close();
  }
});
