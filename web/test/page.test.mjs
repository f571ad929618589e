// The page itself: access, narrow windows, long rooms, addresses, and nothing from elsewhere.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { test } from "node:test";
import { id, live, logIn, until } from "./browser.mjs";
import { stage } from "./stage.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

function people(mock) {
  mock.addUser("mina", "Mina", "here");
  mock.addUser("luca", "Luca");
  mock.befriend("mina", "luca");
  const room = mock.addRoom(["mina", "luca"], "Two");
  mock.say(room, "luca", "hello");
  mock.say(room, "mina", "ciao");
  return room;
}

/** What axe calls serious or critical in the page as it stands. */
async function serious(page) {
  // By the debugger, which the page's policy does not concern.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(" ")).join(", ")}`);
}

for (const colorScheme of ["light", "dark"]) {
  for (const viewport of [
    { width: 1280, height: 800 },
    { width: 360, height: 740 },
  ]) {
    test(`axe finds nothing serious: ${colorScheme}, ${viewport.width} px`, () =>
      stage(async ({ mock, open }) => {
        const room = people(mock);
        const page = await open("/", { colorScheme, viewport, reducedMotion: "reduce" });
        const check = async (view) => assert.deepEqual(await serious(page), [], view);
        const fits = async (view) =>
          assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${view} is too wide`);
        await page.waitForSelector(id("login-user"));
        await check("login");
        await page.click(id("go-signup"));
        await page.click(id("signup-submit"));
        await check("signup with faults");
        await fits("signup");
        await page.click(id("go-login"));
        await logIn(page, "mina");
        await live(page);
        for (const path of ["/", "/friends", "/me", "/new", `/rooms/${room.roomId}`]) {
          await page.goto(`${mock.url}/#${path}`);
          await page.waitForSelector(`${id("connection")}[data-state="live"]`, { state: "attached" });
          if (path.startsWith("/rooms/")) {
            await page.waitForSelector(`${id("message")}[data-seq="2"]`);
            mock.faults.refuse.AddChat = "rate_limited";
            await page.fill(id("message-input"), "x");
            await page.click(id("message-send"));
            await page.waitForSelector(`${id("message")}[data-state="failed"]`);
          }
          await check(path);
          await fits(path);
        }
        await page.click(id("room-leave"));
        await page.waitForSelector(`${id("leave-dialog")}[open]`);
        await check("leaving a room");
        await fits("leaving a room");
      }));
  }
}

test("everything from login to a sent message is done by keyboard", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    const page = await open();
    await page.waitForSelector(id("login-user"));
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute("data-testid"));
    const tabTo = async (wanted) => {
      for (let i = 0; i < 40; i++) {
        await page.keyboard.press("Tab");
        if ((await focused()) === wanted) return;
      }
      assert.fail(`${wanted} is not reached by Tab`);
    };
    await tabTo("login-user");
    await page.keyboard.type("mina");
    await tabTo("login-password");
    await page.keyboard.type("password1");
    await page.keyboard.press("Enter");
    await live(page);
    await tabTo("room");
    await page.keyboard.press("Enter");
    await page.waitForSelector(`${id("message")}[data-seq="2"]`);
    await until(focused, "message-input");
    await page.keyboard.type("by keyboard");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("second line");
    await page.keyboard.press("Enter");
    await until(() => room.messages.at(-1)?.message, "by keyboard\nsecond line");
  }));

test("Enter within a Korean composition does not send", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    const page = await open(`/#/rooms/${room.roomId}`);
    await logIn(page, "mina");
    await page.waitForSelector(`${id("message")}[data-seq="2"]`);
    await page.focus(id("message-input"));
    const session = await page.context().newCDPSession(page);
    await session.send("Input.imeSetComposition", { text: "안녕", selectionStart: 2, selectionEnd: 2 });
    await page.dispatchEvent(id("message-input"), "keydown", { key: "Enter", isComposing: true });
    assert.equal(room.messages.length, 2);
    await session.send("Input.insertText", { text: "안녕" });
    await page.keyboard.press("Enter");
    await until(() => room.messages.at(-1)?.message, "안녕");
  }));

test("a room of 5,000 messages is scrolled to its first one, with few of them in the page", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    for (let i = 3; i <= 5_000; i++) {
      mock.say(room, i % 3 === 0 ? "mina" : "luca", i % 10 === 0 ? `${i} ${"long ".repeat(60)}` : `${i}`, new Date(Date.now() - (5_000 - i) * 60_000));
    }
    const page = await open(`/#/rooms/${room.roomId}`);
    await logIn(page, "mina");
    await page.waitForSelector(`${id("message")}[data-seq="5000"]`);
    const start = Date.now();
    let most = 0;
    while ((await page.locator(`${id("message")}[data-seq="1"]`).count()) === 0) {
      assert.ok(Date.now() - start < 90_000, "the first message is not reached");
      await page.locator(id("messages")).evaluate((box) => box.scrollTo(0, 0));
      await page.waitForTimeout(15);
      most = Math.max(most, await page.locator(id("message")).count());
    }
    assert.ok(most < 260, `${most} messages were in the page at once`);
    // While it is scrolled, screen by screen, each frame is full of messages, and few are in the page.
    const frames = await page.locator(id("messages")).evaluate(async (box) => {
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      let blank = 0;
      let most = 0;
      for (let i = 0; i < 120; i++) {
        box.scrollTop += 700;
        await frame();
        await frame();
        const { top, height } = box.getBoundingClientRect();
        const rows = [...box.querySelectorAll("li")].map((row) => row.getBoundingClientRect());
        const seen = (y) => rows.some((row) => row.top <= y && row.bottom >= y);
        for (let y = top + 5; y < top + height; y += 50) if (!seen(y)) blank += 1;
        most = Math.max(most, rows.length);
      }
      return { blank, most };
    });
    assert.equal(frames.blank, 0, "places without a message while scrolling");
    assert.ok(frames.most < 260, `${frames.most} messages were in the page at once`);
    // What is read stays where it is while a message arrives below.
    const top = () => page.locator(id("messages")).evaluate((box) => box.scrollTop);
    await page.waitForTimeout(200);
    const before = await top();
    mock.live(room, mock.say(room, "luca", "news"));
    await page.waitForSelector(id("to-end"));
    await until(async () => (await page.textContent(id("to-end"))).includes("1 new message"), true);
    assert.ok(Math.abs((await top()) - before) < 3);
    await page.click(id("to-end"));
    await page.waitForSelector(`${id("message")}[data-seq="5001"]`);
  }));

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

test("texts of all kinds are shown as text and break no layout", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    const nasty = ["<img src=x onerror=alert(1)>", "x".repeat(3_000), "مرحبا بالعالم", "👩‍👩‍👧‍👦🇰🇷", "a\u202Ereversed", "**not bold** &amp; &#60;b&#62;", "line\n\nline"];
    for (const text of nasty) mock.say(room, "luca", text);
    const page = await open(`/#/rooms/${room.roomId}`, { viewport: { width: 360, height: 740 } });
    await logIn(page, "mina");
    await page.waitForSelector(`${id("message")}[data-seq="9"]`);
    assert.deepEqual((await page.locator(id("message-text")).allTextContents()).slice(2), nasty);
    assert.equal(await page.locator(`${id("messages")} img`).count(), 0);
    assert.ok(await page.locator(id("messages")).evaluate((box) => box.scrollWidth <= box.clientWidth));
  }));

test("deep links survive login, and nothing leads out of the page", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    const page = await open(`/#/rooms/${room.roomId}`);
    await page.waitForSelector(id("login-user"));
    assert.equal(new URL(page.url()).hash.split("?")[0], "#/login");
    await page.click(id("go-signup"));
    await page.click(id("go-login"));
    await logIn(page, "mina");
    await live(page);
    assert.equal(new URL(page.url()).hash, `#/rooms/${room.roomId}`);
    for (const next of ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/api/session"]) {
      await page.goto(`${mock.url}/#/login?next=${encodeURIComponent(next)}`);
      await live(page);
      await until(() => page.url(), `${mock.url}/#/`);
    }
    const strangers = mock.addRoom(["luca"], "Not mine");
    await page.goto(`${mock.url}/#/rooms/${strangers.roomId}`);
    await page.waitForSelector("text=you are not a member of it");
    await live(page);
    await page.goto(`${mock.url}/#/no/such/place`);
    await page.waitForSelector("text=There is nothing at this address.");
  }));

test("the language is switched in place and kept", () =>
  stage(async ({ mock, open }) => {
    people(mock);
    const page = await open();
    await page.click(id("language-ko"));
    await page.waitForSelector("text=비밀번호");
    assert.equal(await page.evaluate(() => document.documentElement.lang), "ko");
    await page.reload();
    await page.waitForSelector("text=비밀번호");
    const korean = await open("/", { locale: "ko-KR" });
    await korean.waitForSelector("text=비밀번호");
  }));

test("times are in the reader's zone", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    mock.say(room, "luca", "at noon in London", new Date("2026-01-15T12:00:00Z"));
    for (const [timezoneId, wanted] of [["Asia/Seoul", "21:00"], ["America/New_York", "7:00"]]) {
      const page = await open(`/#/rooms/${room.roomId}`, { timezoneId });
      await logIn(page, "mina");
      await page.waitForSelector(`${id("message")}[data-seq="3"]`);
      assert.equal(await page.textContent(`${id("message")}[data-seq="3"] time`), wanted);
    }
  }));

test("the first load is under 100 KB compressed", () =>
  stage(async ({ open }) => {
    const { gzipSync } = await import("node:zlib");
    const page = await open();
    await page.waitForSelector(id("login-user"));
    const urls = await page.evaluate(() => ["/", ...performance.getEntriesByType("resource").map((e) => new URL(e.name).pathname)]);
    let total = 0;
    for (const path of urls.filter((p) => !p.startsWith("/api/"))) {
      const response = await page.request.get(new URL(path, page.url()).href);
      total += gzipSync(await response.body()).length;
    }
    assert.ok(urls.length >= 3 && total > 10_000 && total < 100_000, `${total} bytes`);
  }));
