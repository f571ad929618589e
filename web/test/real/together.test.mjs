// What people do together in the page, on a running Parley.
import assert from "node:assert/strict";
import { test } from "node:test";
import { id, live, until } from "../browser.mjs";
import { friends, logIn, open, origin, password, person, room, texts, write } from "./people.mjs";

test("status, unread counts, read marks, deep links and logging out everywhere", async () => {
  const [mina, luca] = [await person("mina"), await person("luca")];
  await friends(mina, luca);
  await luca.page.fill(id("status-input"), "in Milano 🇮🇹");
  await luca.page.click(id("status-submit"));
  const seen = () => mina.page.textContent(`${id("friend")}[data-user="${luca.userId}"] ${id("friend-status")}`);
  await until(seen, "in Milano 🇮🇹");

  const roomId = await room(mina, luca, "Lunch");
  await write(mina.page, "one");
  await write(mina.page, "<script>two</script>");
  const inList = `${id("room")}[data-room="${roomId}"]`;
  await luca.page.waitForSelector(`${inList}[data-unread="2"]`);
  await luca.page.reload();
  await luca.page.waitForSelector(`${inList}[data-unread="2"]`);
  await luca.page.click(inList);
  await until(() => texts(luca.page).then(String), "one,<script>two</script>");
  await luca.page.waitForSelector(`${inList}[data-unread="0"]`);
  await luca.page.waitForTimeout(1_000);

  // A second browser of his, straight to the room; what was read is read there too.
  const other = await open(`#/rooms/${roomId}`);
  await logIn(other, luca.userId);
  await live(other);
  assert.equal(new URL(other.url()).hash, `#/rooms/${roomId}`);
  await until(() => texts(other).then(String), "one,<script>two</script>");
  await other.click(id("logout-everywhere"));
  await other.waitForSelector(id("login-user"));
  await luca.page.waitForSelector(`${id("connection")}[data-state="signed-out"]`);
  await logIn(luca.page, luca.userId);
  await live(luca.page);
  assert.equal(new URL(luca.page.url()).hash, `#/rooms/${roomId}`);
});

test("a room is left, which those who stay are told, and its messages reach the leaver no more", async () => {
  const [mina, luca] = [await person("stay"), await person("go")];
  await friends(mina, luca);
  const roomId = await room(mina, luca, "Soon smaller");
  const inList = `${id("room")}[data-room="${roomId}"]`;
  await luca.page.click(inList);
  await write(mina.page, "before");
  await until(() => texts(luca.page).then(String), "before");
  await luca.page.click(id("room-leave"));
  await luca.page.click(id("leave-submit"));
  await until(() => new URL(luca.page.url()).hash, "#/", 120_000);
  await luca.page.waitForSelector(inList, { state: "detached" });
  await mina.page.waitForSelector(`${id("members-notice")}:has-text("left")`);
  await write(mina.page, "after");
  await mina.page.waitForSelector(`${id("message")}[data-seq="2"]`);
  await luca.page.reload();
  await live(luca.page);
  assert.equal(await luca.page.locator(inList).count(), 0);
  await mina.page.click(id("room-add"));
  await mina.page.check(`${id("new-room-friend")}[data-user="${luca.userId}"]`);
  await mina.page.click(id("room-add-submit"));
  await luca.page.click(inList);
  await write(mina.page, "welcome back");
  await until(() => texts(luca.page).then((all) => all.at(-1)), "welcome back", 120_000);
  assert.ok(!(await texts(luca.page)).includes("after"), "what was said without him is not for him");
});

test("a wrong password, a name that is taken and a room of others are told in words; logging out here ends this session alone", async () => {
  const mina = await person("taken");
  const page = await open();
  await logIn(page, mina.userId, `not ${password}`);
  await page.waitForSelector(`${id("request-note")}[data-phase="failed"]`);
  assert.match(await page.textContent(id("request-note")), /password is wrong/);
  await page.click(id("go-signup"));
  await page.fill(id("signup-user"), mina.userId);
  await page.fill(id("signup-name"), "x");
  await page.fill(id("signup-email"), "x@example.org");
  await page.fill(id("signup-password"), `${password} 2`);
  await page.click(id("signup-submit"));
  await page.waitForSelector(`${id("request-note")}[data-phase="failed"]`);
  assert.match(await page.textContent(id("request-note")), /taken/);
  await mina.page.goto(`${origin}/#/rooms/00000000-0000-4000-8000-000000000000`);
  await mina.page.waitForSelector("text=you are not a member of it");
  await live(mina.page);

  // Logging out here leaves her other browser logged in.
  const other = await open();
  await logIn(other, mina.userId);
  await live(other);
  await other.click(id("logout"));
  await other.waitForSelector(id("login-user"));
  await other.reload();
  await other.waitForSelector(id("login-user"));
  await mina.page.goto(`${origin}/#/`);
  await mina.page.reload();
  await live(mina.page);
});

test("seven tabs share a stream, hear each message once, and history is read by scrolling up", async () => {
  const [mina, luca] = [await person("seven"), await person("tabs")];
  await friends(mina, luca);
  const roomId = await room(mina, luca, "Many");
  const tabs = [mina.page];
  for (let i = 1; i < 7; i++) {
    const tab = await mina.page.context().newPage();
    await tab.goto(`${origin}/#/rooms/${roomId}`);
    await live(tab);
    tabs.push(tab);
  }
  await luca.page.click(`${id("room")}[data-room="${roomId}"]`);
  const lines = Array.from({ length: 60 }, (_, i) => `line ${i}`);
  for (const line of lines) await write(luca.page, line);
  for (const tab of tabs) await until(() => texts(tab).then(String), lines.join(), 90_000);
  await tabs[0].close();
  await write(tabs[4], "from the fifth");
  for (const tab of tabs.slice(1)) await until(() => texts(tab).then((all) => all.slice(-2).join()), "line 59,from the fifth", 120_000);

  const fresh = await open(`#/rooms/${roomId}`);
  await logIn(fresh, luca.userId);
  await fresh.waitForSelector(`${id("message")}[data-seq="61"]`);
  await until(async () => {
    await fresh.locator(id("messages")).evaluate((box) => box.scrollTo(0, 0));
    return texts(fresh).then((all) => all.length);
  }, 61);
  assert.deepEqual(await texts(fresh), [...lines, "from the fifth"]);
});
