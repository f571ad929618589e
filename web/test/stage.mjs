// What the tests against the scripted gateway share: a browser for each file, a gateway for each test.
import assert from "node:assert/strict";
import { after } from "node:test";
import { launch, watch } from "./browser.mjs";
import { startMock } from "./mock-gateway.mjs";

/** One browser for all tests of a file. Each person in it has a context, with cookies and tabs of their own. */
let shared;
after(async () => (await shared)?.close());

/** A fresh mock and what a test needs to open pages on it. */
export async function stage(run) {
  const mock = await startMock();
  shared ??= launch();
  const browser = await shared;
  const contexts = [];
  const faults = [];
  try {
    await run({
      mock,
      open: async (path = "/", options = {}) => {
        const context = await browser.newContext({ locale: "en-GB", ...options });
        contexts.push(context);
        const page = await context.newPage();
        page.setDefaultTimeout(60_000);
        faults.push(watch(page, mock.url));
        await page.goto(mock.url + path);
        return page;
      },
    });
    assert.deepEqual(faults.flat(), []);
  } finally {
    await Promise.all(contexts.map((context) => context.close()));
    mock.close();
  }
}
