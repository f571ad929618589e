// The page itself on a running Parley: access, keyboard, languages, long rooms, texts of all kinds.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { id, live, serious, until } from "../browser.mjs";
import { friends, logIn, member, open, origin, password, person, room, run, texts, write } from "./people.mjs";

const message = (seq) => `${id("message")}[data-seq="${seq}"]`;

test("axe finds nothing serious in any view, light and dark, wide and at 360 px", async () => {
  const [mina, luca] = [await person("axe"), await person("other")];
  await friends(mina, luca);
  const roomId = await room(mina, luca, "Looked at");
  await write(mina.page, "hello");
  await luca.page.click(`${id("room")}[data-room="${roomId}"]`);
  await write(luca.page, "안녕하세요 👋");
  for (const colorScheme of ["light", "dark"]) {
    for (const viewport of [{ width: 1280, height: 800 }, { width: 360, height: 740 }]) {
      const page = await open("", { colorScheme, viewport, reducedMotion: "reduce" });
      const check = async (view) => {
        assert.deepEqual(await serious(page), [], `${view}, ${colorScheme}, ${viewport.width} px`);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${view} is too wide`);
      };
      await page.waitForSelector(id("login-user"));
      await check("login");
      await page.click(id("go-signup"));
      await page.click(id("signup-submit"));
      await check("sign-up with faults");
      await page.click(id("go-login"));
      await logIn(page, mina.userId);
      await live(page);
      for (const path of ["/", "/friends", "/me", "/new", `/rooms/${roomId}`]) {
        await page.goto(`${origin}/#${path}`);
        await page.waitForSelector(`${id("connection")}[data-state="live"]`, { state: "attached" });
        if (path.startsWith("/rooms/")) await page.waitForSelector(message(2));
        await check(path);
      }
      await page.click(id("room-leave"));
      await page.waitForSelector(`${id("leave-dialog")}[open]`);
      await check("leaving a room");
      await page.context().close();
    }
  }
});

test("from login over a new friend and a new room to a message, all by keyboard", async () => {
  const [mina, luca] = [await person("keys"), await person("keyed")];
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
  await page.keyboard.type(mina.userId);
  await tabTo("login-password");
  await page.keyboard.type(password);
  await page.keyboard.press("Enter");
  await live(page);
  await tabTo("add-friend-input");
  await page.keyboard.type(luca.userId);
  await page.keyboard.press("Enter");
  await page.waitForSelector(`${id("friend")}[data-user="${luca.userId}"]`);
  await tabTo("new-room");
  await page.keyboard.press("Enter");
  await page.waitForSelector(id("new-room-name"));
  await tabTo("new-room-friend");
  await page.keyboard.press("Space");
  await tabTo("new-room-submit");
  await page.keyboard.press("Enter");
  await page.waitForSelector(id("message-input"));
  await until(focused, "message-input");
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("second line");
  await page.keyboard.press("Enter");
  await page.waitForSelector(message(1));
  await luca.page.click(id("room"));
  await until(() => texts(luca.page).then(String), "by keyboard\nsecond line");
});

test("Korean: words, composed text, and times in the reader's zone", async () => {
  const [mina, luca] = [await person("korea"), await person("italy")];
  await friends(mina, luca);
  const roomId = await room(mina, luca, "한국어 방");
  const page = await open(`#/rooms/${roomId}`, { locale: "ko-KR", timezoneId: "Asia/Seoul" });
  await page.waitForSelector("text=비밀번호");
  assert.equal(await page.evaluate(() => document.documentElement.lang), "ko");
  await logIn(page, mina.userId);
  await live(page);
  await page.focus(id("message-input"));
  const session = await page.context().newCDPSession(page);
  await session.send("Input.imeSetComposition", { text: "안녕", selectionStart: 2, selectionEnd: 2 });
  await page.dispatchEvent(id("message-input"), "keydown", { key: "Enter", isComposing: true });
  assert.equal(await page.locator(id("message")).count(), 0, "Enter within a composition does not send");
  await session.send("Input.insertText", { text: "안녕하세요" });
  await page.keyboard.press("Enter");
  await page.waitForSelector(message(1));
  await luca.page.click(`${id("room")}[data-room="${roomId}"]`);
  await until(() => texts(luca.page).then(String), "안녕하세요");
  // The same moment on two clocks.
  const at = await page.getAttribute(`${message(1)} time`, "datetime");
  const clock = (locale, timeZone) =>
    page.evaluate(
      (given) => new Intl.DateTimeFormat(given.locale, { hour: "numeric", minute: "2-digit", timeZone: given.timeZone }).format(new Date(given.at)),
      { locale, timeZone, at },
    );
  assert.equal(await page.textContent(`${message(1)} time`), await clock("ko-KR", "Asia/Seoul"));
  const york = await open(`#/rooms/${roomId}`, { timezoneId: "America/New_York" });
  await logIn(york, luca.userId);
  await york.waitForSelector(message(1));
  assert.equal(await york.textContent(`${message(1)} time`), await clock("en-GB", "America/New_York"));
  await york.click(id("language-ko"));
  await until(() => york.evaluate(() => document.documentElement.lang), "ko");
  await york.reload();
  await live(york);
  assert.equal(await york.evaluate(() => document.documentElement.lang), "ko", "the choice is kept");
});

test("a room of 5,000 messages is scrolled to its first one, with few of them in the page", async () => {
  const writers = await Promise.all(Array.from({ length: 10 }, (_, i) => member(`writer${i}`)));
  const [owner, ...others] = writers;
  await owner.post("friends", { friendId: others.map(({ userId }) => userId) });
  const opened = await owner.post("rooms", { friendId: others.map(({ userId }) => userId), roomName: "Long" });
  const { roomId } = opened;
  // Each has eight under way at once, within the limits of a user and of a room.
  const total = 5_000;
  let sent = 0;
  const lane = async (writer) => {
    while (sent < total) {
      const n = ++sent;
      const text = n % 10 === 0 ? `${n} ${"long ".repeat(60)}` : `${n}`;
      // Eighty lanes together stay below 400 a second, also after a pause of the machine.
      await new Promise((resolve) => setTimeout(resolve, 200));
      await writer.post(`rooms/${roomId}/messages`, { message: text });
    }
  };
  await Promise.all(writers.flatMap((writer) => Array.from({ length: 8 }, () => lane(writer))));

  const page = await open(`#/rooms/${roomId}`);
  await logIn(page, owner.userId);
  await page.waitForSelector(message(total));
  const box = page.locator(id("messages"));
  const end = Date.now() + 240_000;
  let most = 0;
  while ((await page.locator(message(1)).count()) === 0) {
    assert.ok(Date.now() < end, "the first message is not reached");
    await box.evaluate((list) => list.scrollTo(0, 0));
    await page.waitForTimeout(15);
    most = Math.max(most, await page.locator(id("message")).count());
  }
  assert.ok(most < 260, `${most} messages were in the page at once`);
  // While it is scrolled, screen by screen, each frame is full of messages, and few are in the page.
  const frames = await box.evaluate(async (list) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    let [blank, rowsAtOnce] = [0, 0];
    for (let i = 0; i < 120; i++) {
      list.scrollTop += 700;
      await frame();
      await frame();
      const { top, height } = list.getBoundingClientRect();
      const rows = [...list.querySelectorAll("li")].map((row) => row.getBoundingClientRect());
      const seen = (y) => rows.some((row) => row.top <= y && row.bottom >= y);
      for (let y = top + 5; y < top + height; y += 50) if (!seen(y)) blank += 1;
      rowsAtOnce = Math.max(rowsAtOnce, rows.length);
    }
    return { blank, rowsAtOnce };
  });
  assert.equal(frames.blank, 0, "places without a message while scrolling");
  assert.ok(frames.rowsAtOnce < 260, `${frames.rowsAtOnce} messages were in the page at once`);
  // What is read stays where it is while a message arrives below.
  const top = () => box.evaluate((list) => list.scrollTop);
  let before = await top();
  // It has come to rest when two looks agree.
  for (let again; (again = await page.waitForTimeout(200).then(top)) !== before; before = again);
  await others[0].post(`rooms/${roomId}/messages`, { message: "news" });
  await page.waitForSelector(id("to-end"));
  await until(async () => (await page.textContent(id("to-end"))).includes("1 new message"), true);
  assert.ok(Math.abs((await top()) - before) < 3);
  await page.click(id("to-end"));
  await page.waitForSelector(message(total + 1));
});

test("texts of all kinds are shown as text, within 360 px, under a strict policy and a small first load", async () => {
  const [mina, luca] = [await person("texts"), await person("shown")];
  await friends(mina, luca);
  const roomId = await room(mina, luca, "<b>Room</b> \u202E");
  const nasty = ["<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "x".repeat(3_000), "مرحبا بالعالم", "👩‍👩‍👧‍👦🇰🇷", "a\u202Ereversed", "**not bold** &amp; &#60;b&#62;"];
  for (const [i, text] of nasty.entries()) {
    await write(mina.page, text);
    await mina.page.waitForSelector(message(i + 1));
  }
  const page = await open(`#/rooms/${roomId}`, { viewport: { width: 360, height: 740 } });
  await logIn(page, luca.userId);
  await page.waitForSelector(message(nasty.length));
  assert.deepEqual(await texts(page), nasty);
  assert.equal(await page.locator(`${id("messages")} img, ${id("messages")} script, ${id("messages")} b`).count(), 0);
  assert.ok(await page.locator(id("messages")).evaluate((box) => box.scrollWidth <= box.clientWidth));

  for (const next of ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/api/session"]) {
    await page.goto(`${origin}/#/login?next=${encodeURIComponent(next)}`);
    await live(page);
    await until(() => page.url(), `${origin}/#/`);
  }

  await page.goto(`${origin}/#/no/such/place`);
  await page.waitForSelector("text=There is nothing at this address.");

  const first = await fetch(`${origin}/`);
  const policy = first.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  const paths = await page.evaluate(() => performance.getEntriesByType("resource").map((entry) => new URL(entry.name).pathname));
  let bytes = 0;
  for (const path of new Set(["/", ...paths.filter((name) => !name.startsWith("/api/"))])) {
    bytes += gzipSync(Buffer.from(await (await fetch(`${origin}${path}`)).arrayBuffer())).length;
  }
  assert.ok(paths.length >= 3 && bytes > 10_000 && bytes < 100_000, `${bytes} bytes of the first load (run ${run})`);
});

test("markup in every field is text in every view, live and read anew", async () => {
  const markup = `"><img src=x onerror=alert(1)><script>alert(2)</script>`;
  const [mal, luca] = [await person("mal", markup), await person("reader")];
  const alerts = [];
  for (const { page } of [mal, luca]) page.on("dialog", (dialog) => dialog.dismiss().then(() => alerts.push(dialog.message())));
  await friends(mal, luca);
  const status = await mal.page.evaluate(async (text) => {
    const headers = { "Content-Type": "application/json", Prefer: "wait=20" };
    return (await fetch("/api/me/status", { method: "PUT", headers, body: JSON.stringify({ status: text }) })).status;
  }, markup);
  assert.equal(status, 200);
  const roomId = await room(mal, luca, markup);
  await write(mal.page, markup);
  const { page } = luca;
  for (const again of [false, true]) {
    for (const [place, times] of [["friends", 2], ["", 1], ["new", 1], [`rooms/${roomId}`, 3]]) {
      await page.goto(`${origin}/#/${place}`);
      if (again) await page.reload();
      await live(page);
      const shown = async () => (await page.locator("body").innerText()).split("onerror=alert(1)").length > times;
      await until(shown, true);
      assert.equal(await page.locator("img[src=x], body script:not([src])").count(), 0, place);
    }
  }
  assert.deepEqual(alerts, []);
});
