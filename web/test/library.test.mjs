// The client library without the page: bundled alone, in the browser's own EventSource, locks and channels.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { build } from "vite";
import { until } from "./browser.mjs";
import { stage } from "./stage.mjs";

/** The library as one module. */
async function bundle() {
  const entry = fileURLToPath(new URL("../src/parley-client/index.ts", import.meta.url));
  const made = await build({ configFile: false, logLevel: "error", build: { write: false, minify: false, lib: { entry, formats: ["es"], fileName: "library" } } });
  return [made].flat()[0].output[0].code;
}

/** Opens a bare page on the gateway's origin with a `Parley` of its own, which keeps what it hears. */
async function bare(page, url, code) {
  await page.context().route("**/bare*", (route) => route.fulfill(route.request().url().endsWith(".js") ? { contentType: "text/javascript", body: code } : { contentType: "text/html", body: "<title>bare</title>" }));
  await page.goto(`${url}/bare.html`);
  await page.evaluate(async () => {
    const { Parley } = await import("/bare.js");
    const parley = new Parley();
    globalThis.parley = parley;
    globalThis.heard = [];
    globalThis.rereads = [];
    parley.events.on((event) => event.name === "message" && globalThis.heard.push(event.data.message));
    parley.stream.reread.on((reason) => globalThis.rereads.push(reason));
  });
  return page;
}

const heard = (page) => page.evaluate(() => globalThis.heard.join());
const state = (page) => page.evaluate(() => globalThis.parley.stream.state);

test("the library alone logs in, sends, resumes, and keeps one stream for seven tabs", async () => {
  const code = await bundle();
  assert.ok(!code.includes("preact"), "it knows nothing of the page");
  await stage(async ({ mock, open }) => {
    mock.addUser("mina", "Mina");
    mock.addUser("luca", "Luca");
    const room = mock.addRoom(["mina", "luca"], "Two");
    const first = await bare(await open("/favicon.svg"), mock.url, code);
    const user = await first.evaluate(async () => (await globalThis.parley.login("mina", "password1").result).user?.userId);
    assert.equal(user, "mina");
    await until(() => state(first), "live");
    const tabs = [first];
    for (let i = 1; i < 7; i++) {
      const tab = await bare(await first.context().newPage(), mock.url, code);
      await tab.evaluate(() => globalThis.parley.stream.open());
      await until(() => state(tab), "live");
      tabs.push(tab);
    }
    assert.equal(mock.streams.size, 1);

    const seq = await tabs[3].evaluate(async (roomId) => (await globalThis.parley.send(roomId, "from the fourth").result).seq, room.roomId);
    assert.equal(seq, 1);
    for (const tab of tabs) await until(() => heard(tab), "from the fourth");

    // The browser comes back with its cursor, and nothing has to be read again.
    const before = await first.evaluate(() => globalThis.rereads.length);
    mock.dropStreams();
    await until(() => state(tabs[6]), "reconnecting");
    await until(() => state(tabs[6]), "live");
    assert.equal(await first.evaluate(() => globalThis.rereads.length), before);

    // The keeper goes: another opens a fresh stream, and all read again.
    await first.evaluate(() => globalThis.parley.dispose());
    await until(() => mock.streams.size, 1);
    for (const tab of tabs.slice(1)) await until(() => tab.evaluate(() => globalThis.rereads.at(-1)), "fresh");
    mock.live(room, mock.say(room, "luca", "to the six"));
    for (const tab of tabs.slice(1)) await until(() => heard(tab), "from the fourth,to the six");
    assert.equal(await heard(first), "from the fourth");
  });
});
