// What the page says of its connection, and that nothing is missed or doubled by an interruption.
import assert from "node:assert/strict";
import { test } from "node:test";
import { id, live, logIn, until } from "./browser.mjs";
import { stage } from "./stage.mjs";

function people(mock) {
  mock.addUser("mina", "Mina");
  mock.addUser("luca", "Luca");
  mock.befriend("mina", "luca");
  return mock.addRoom(["mina", "luca"], "Two");
}

const connection = (page) => page.getAttribute(id("connection"), "data-state");
const texts = (page) => page.locator(id("message-text")).allTextContents();

test("reconnecting, then live again; what could not be resumed is read", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    const page = await open(`/#/rooms/${room.roomId}`);
    await logIn(page, "mina");
    await live(page);
    mock.live(room, mock.say(room, "luca", "one"));
    await until(() => texts(page).then(String), "one");
    mock.faults.streamsDown = true;
    mock.dropStreams();
    await until(() => connection(page), "reconnecting");
    mock.say(room, "luca", "two");
    mock.say(room, "luca", "three");
    mock.faults.resync = true;
    mock.faults.streamsDown = false;
    await until(() => connection(page), "live");
    await until(() => texts(page).then(String), "one,two,three");
    mock.live(room, room.messages[2]);
    mock.live(room, mock.say(room, "luca", "four"));
    await until(() => texts(page).then(String), "one,two,three,four");
  }));

test("a hole in the live messages is filled before what follows is shown", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    mock.say(room, "luca", "one");
    const page = await open(`/#/rooms/${room.roomId}`);
    await logIn(page, "mina");
    await page.waitForSelector(`${id("message")}[data-seq="1"]`);
    await live(page);
    mock.say(room, "luca", "two");
    mock.live(room, mock.say(room, "luca", "three"));
    await until(() => texts(page).then(String), "one,two,three");
  }));

test("signed out elsewhere is said, and logging in leads back to the room", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    const page = await open(`/#/rooms/${room.roomId}`);
    await logIn(page, "mina");
    await live(page);
    mock.endSession("mina");
    await until(() => connection(page), "signed-out");
    await logIn(page, "mina");
    await live(page);
    assert.equal(new URL(page.url()).hash, `#/rooms/${room.roomId}`);
  }));

test("log out ends the session in all tabs of the browser", () =>
  stage(async ({ mock, open }) => {
    people(mock);
    const page = await open();
    await logIn(page, "mina");
    await live(page);
    const other = await page.context().newPage();
    await other.goto(mock.url);
    await live(other);
    await page.click(id("logout"));
    await page.waitForSelector(id("login-user"));
    await other.waitForSelector(id("login-user"));
    assert.equal([...mock.sessions.values()].filter((s) => s.userId === "mina" && !s.ended).length, 0);
  }));

test("seven tabs keep one stream, each is live, and the stream outlives the tab that kept it", () =>
  stage(async ({ mock, open }) => {
    const room = people(mock);
    const first = await open(`/#/rooms/${room.roomId}`);
    await logIn(first, "mina");
    await live(first);
    const tabs = [first];
    for (let i = 1; i < 7; i++) {
      const tab = await first.context().newPage();
      await tab.goto(`${mock.url}/#/rooms/${room.roomId}`);
      await live(tab);
      tabs.push(tab);
    }
    assert.equal(mock.streams.size, 1);
    mock.live(room, mock.say(room, "luca", "to all"));
    for (const tab of tabs) await until(() => texts(tab).then(String), "to all");
    await first.close();
    await until(() => mock.streams.size, 1);
    for (const tab of tabs.slice(1)) await live(tab);
    await tabs[3].fill(id("message-input"), "still here");
    await tabs[3].click(id("message-send"));
    for (const tab of tabs.slice(1)) await until(() => texts(tab).then(String), "to all,still here");
    assert.equal(mock.streams.size, 1);
  }));

test("logging in in one tab brings the others in", () =>
  stage(async ({ mock, open }) => {
    people(mock);
    const page = await open();
    const other = await page.context().newPage();
    await other.goto(`${mock.url}/#/friends`);
    await other.waitForSelector(id("login-user"));
    await logIn(page, "mina");
    await live(page);
    await live(other);
    await other.waitForSelector(`${id("friend")}[data-user="luca"]`);
    assert.equal(mock.streams.size, 1);
  }));

test("after logging out, an account is created without loading the page anew", () =>
  stage(async ({ mock, open }) => {
    people(mock);
    const page = await open();
    await logIn(page, "mina");
    await live(page);
    await page.click(id("logout"));
    await page.click(id("go-signup"));
    await page.fill(id("signup-user"), "aiko");
    await page.fill(id("signup-name"), "Aiko");
    await page.fill(id("signup-email"), "aiko@example.org");
    await page.fill(id("signup-password"), "password1");
    await page.click(id("signup-submit"));
    await live(page);
    assert.equal(await page.textContent(id("me-name")), "Aiko");
  }));
