// What of the page itself a real system shows too rarely to wait for; the rest is in real/page.test.mjs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { id, logIn, serious, until } from "./browser.mjs";
import { stage } from "./stage.mjs";

function people(mock) {
  mock.addUser("mina", "Mina", "here");
  mock.addUser("luca", "Luca");
  mock.befriend("mina", "luca");
  const room = mock.addRoom(["mina", "luca"], "Two");
  mock.say(room, "luca", "hello");
  mock.say(room, "mina", "ciao");
  return room;
}

for (const colorScheme of ["light", "dark"]) {
  test(`axe finds nothing serious in a message that failed: ${colorScheme}`, () =>
    stage(async ({ mock, open }) => {
      const room = people(mock);
      const page = await open(`/#/rooms/${room.roomId}`, { colorScheme, viewport: { width: 360, height: 740 }, reducedMotion: "reduce" });
      await logIn(page, "mina");
      await page.waitForSelector(`${id("message")}[data-seq="2"]`);
      mock.faults.refuse.AddChat = "rate_limited";
      await page.fill(id("message-input"), "x");
      await page.click(id("message-send"));
      await page.waitForSelector(`${id("message")}[data-state="failed"]`);
      assert.deepEqual(await serious(page), []);
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it is too wide");
    }));
}

test("history that arrives above does not move what is read", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    for (let i = 3; i <= 300; i++) mock.say(room, "luca", `${i} ${"word ".repeat(i % 40)}`);
    const page = await open(`/#/rooms/${room.roomId}`);
    await logIn(page, "mina");
    await page.waitForSelector(`${id("message")}[data-seq="300"]`);
    const place = (seq) => page.locator(`${id("message")}[data-seq="${seq}"]`).evaluate((e) => e.getBoundingClientRect().top);
    await page.locator(id("messages")).evaluate((box) => box.scrollTo(0, 700));
    const seq = await page.evaluate(() => {
      const all = [...document.querySelectorAll('[data-testid="message"]')];
      return all.find((e) => e.getBoundingClientRect().top > 200)?.getAttribute("data-seq");
    });
    const before = await place(seq);
    await page.locator(id("messages")).evaluate((box) => box.scrollTo(0, box.scrollTop - 150));
    await page.waitForFunction((least) => document.querySelectorAll('[data-testid="message"]').length > least, 60);
    await until(async () => Math.abs((await place(seq)) - before - 150) < 3, true);
  }));
