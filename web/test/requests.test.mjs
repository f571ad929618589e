// How requests are shown while they wait and when they fail, and that trying again never does a thing twice.
import assert from "node:assert/strict";
import { test } from "node:test";
import { id, live, logIn, until } from "./browser.mjs";
import { stage } from "./stage.mjs";

function friends(mock) {
  mock.addUser("mina", "Mina");
  mock.addUser("luca", "Luca");
  mock.befriend("mina", "luca");
  return mock.addRoom(["mina", "luca"], "Two");
}

async function inRoom({ mock, open }) {
  const room = friends(mock);
  const page = await open(`/#/rooms/${room.roomId}`);
  await logIn(page, "mina");
  await live(page);
  return { room, page };
}

const write = async (page, text) => {
  await page.fill(id("message-input"), text);
  await page.click(id("message-send"));
};
const state = (page) => page.locator(id("message")).last().getAttribute("data-state");
// All that the newest message is shown as from now on, in order: the page itself looks, however late we are.
const statesOfTheLast = async (page) => {
  await page.evaluate((message) => {
    window.seen = [];
    const look = () => {
      const now = [...document.querySelectorAll(message)].at(-1)?.dataset.state;
      if (now !== undefined && window.seen.at(-1) !== now) window.seen.push(now);
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
  }, id("message"));
  return () => page.evaluate(() => window.seen);
};
const texts = (page) => page.locator(id("message-text")).allTextContents();

test("sign-up logs in, two users become friends, open a room and chat both ways", () =>
  stage(async ({ mock, open }) => {
    mock.addUser("luca", "Luca");
    const mina = await open("/#/signup");
    await mina.fill(id("signup-user"), "Mina");
    await mina.fill(id("signup-name"), "Mina");
    await mina.fill(id("signup-email"), "mina@example.org");
    await mina.fill(id("signup-password"), "password1");
    await mina.click(id("signup-submit"));
    await live(mina);
    const luca = await open();
    await logIn(luca, "luca");
    await live(luca);
    await mina.fill(id("add-friend-input"), "luca, nobody mina");
    await mina.click(id("add-friend-submit"));
    const result = (user) => mina.getAttribute(`${id("add-friend-result")}[data-user="${user}"]`, "data-result");
    assert.deepEqual([await result("luca"), await result("nobody"), await result("mina")], ["added", "unknown", "self"]);
    await luca.waitForSelector(`${id("friend")}[data-user="mina"]`);
    await luca.fill(id("status-input"), "in Milano");
    await luca.click(id("status-submit"));
    await until(() => mina.textContent(`${id("friend")}[data-user="luca"] ${id("friend-status")}`), "in Milano");
    await mina.click(id("new-room"));
    await mina.check(`${id("new-room-friend")}[data-user="luca"]`);
    await mina.fill(id("new-room-name"), "Lunch");
    await mina.click(id("new-room-submit"));
    await write(mina, "hungry?");
    await luca.waitForSelector(`${id("room")}[data-unread="1"]`);
    await luca.click(id("room"));
    await luca.waitForSelector(`${id("message")}[data-seq="1"]`);
    await luca.waitForSelector(`${id("room")}[data-unread="0"]`);
    await write(luca, "<script>document.title = 'x'</script>");
    await until(() => texts(mina).then((all) => all.at(-1)), "<script>document.title = 'x'</script>");
    await until(() => mina.title(), "Lunch · Parley");
  }));

test("a wrong password is told in words, and the form keeps the name", () =>
  stage(async ({ mock, open }) => {
    mock.addUser("mina", "Mina");
    const page = await open();
    await logIn(page, "mina", "not-the-one");
    await page.waitForSelector(`${id("request-note")}[data-phase="failed"]`);
    assert.match(await page.textContent(id("request-note")), /user id or the password is wrong/);
    assert.equal(await page.inputValue(id("login-user")), "mina");
    await page.fill(id("login-password"), "password1");
    await page.click(id("login-submit"));
    await live(page);
  }));

test("the login waits for the event, says when that is late and when it is not known, and then goes on", () =>
  stage(async ({ mock, open }) => {
    const room = friends(mock);
    mock.faults.deadlineMs = 8_000;
    mock.faults.replyDelay.Login = 16_000;
    const page = await open(`/#/rooms/${room.roomId}`, { reducedMotion: "reduce" });
    await logIn(page, "mina");
    await page.waitForSelector(id("signing-in"));
    await page.waitForSelector("text=takes longer than usual");
    const turning = () => page.evaluate(() => document.getAnimations().length);
    assert.equal(await turning(), 0, "nothing moves for those who want it so");
    await page.waitForSelector(`${id("signing-in")} ${id("request-note")}[data-phase="unknown"]`);
    await page.click(`${id("request-note")} button`);
    assert.equal(new URL(page.url()).hash.split("?")[0], "#/login");
    await live(page);
    assert.equal(new URL(page.url()).hash, `#/rooms/${room.roomId}`);
  }));

test("a message stands there at once, is slow after a second, unknown at its deadline, and settles later", () =>
  stage(async (stand) => {
    const { page } = await inRoom(stand);
    const { faults } = stand.mock;
    faults.deadlineMs = 6_000;
    faults.replyDelay.AddChat = 12_000;
    const seen = await statesOfTheLast(page);
    await write(page, "patience");
    await until(() => state(page), "sent");
    assert.deepEqual(await seen(), ["pending", "slow", "unknown", "sent"]);
    assert.deepEqual(await texts(page), ["patience"]);
  }));

test("a lost reply is found by asking, and a lost answer is sent again without doubling", () =>
  stage(async (stand) => {
    const { page, room } = await inRoom(stand);
    stand.mock.faults.loseReply.add("ChangeStatus");
    stand.mock.faults.deadlineMs = 1_000;
    await page.fill(id("status-input"), "here");
    await page.click(id("status-submit"));
    await page.waitForSelector(`.status-form ${id("request-note")}[data-phase="done"]`);
    stand.mock.faults.cutAnswer.add("AddChat");
    await write(page, "once");
    await until(() => state(page), "sent");
    await page.waitForTimeout(1_000);
    assert.deepEqual(await texts(page), ["once"]);
    assert.equal(room.messages.length, 1);
  }));

test("a refused message says why, can be tried again and discarded", () =>
  stage(async (stand) => {
    const { page, room } = await inRoom(stand);
    stand.mock.faults.unavailable.add("AddChat");
    await write(page, "one");
    await until(() => state(page), "failed");
    assert.match(await page.locator(id("message")).last().textContent(), /not available right now/);
    stand.mock.faults.unavailable.clear();
    await page.click(id("message-retry"));
    await until(() => state(page), "sent");
    stand.mock.faults.refuse.AddChat = "not_a_member";
    await write(page, "two");
    await until(() => state(page), "failed");
    await page.click(id("message-discard"));
    await until(() => page.locator(id("message")).count(), 1);
    assert.deepEqual(room.messages.map((m) => m.message), ["one"]);
  }));

test("messages written fast stand in the order they were written", () =>
  stage(async (stand) => {
    const { page, room } = await inRoom(stand);
    stand.mock.faults.replyDelay.AddChat = 60;
    const lines = Array.from({ length: 12 }, (_, i) => `line ${i}`);
    for (const line of lines) {
      await page.fill(id("message-input"), line);
      await page.press(id("message-input"), "Enter");
    }
    await until(() => room.messages.length, lines.length);
    assert.deepEqual(room.messages.map((m) => m.message), lines);
    await until(() => texts(page).then((all) => all.join()), lines.join());
  }));

test("leaving a room asks first, is told to those who stay, and leads home in every tab", () =>
  stage(async (stand) => {
    const { page, room } = await inRoom(stand);
    const luca = await stand.open(`/#/rooms/${room.roomId}`);
    await logIn(luca, "luca");
    await live(luca);
    const other = await page.context().newPage();
    await other.goto(`${stand.mock.url}/#/rooms/${room.roomId}`);
    await live(other);
    const dialog = `${id("leave-dialog")}[open]`;
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute("data-testid"));

    // By keyboard: Escape leaves nothing, and the focus is back where it was.
    await page.focus(id("room-leave"));
    await page.keyboard.press("Enter");
    await page.waitForSelector(dialog);
    assert.equal(await focused(), "leave-cancel");
    await page.keyboard.press("Escape");
    await page.waitForSelector(id("leave-dialog"), { state: "detached" });
    assert.equal(await focused(), "room-leave");
    assert.ok(room.members.has("mina"));

    // A refusal is told in the dialog, and trying again is a request of its own.
    stand.mock.faults.refuse.LeaveRoom = "unavailable";
    await page.keyboard.press("Enter");
    await page.click(id("leave-submit"));
    await page.waitForSelector(`${dialog} ${id("request-note")}[data-phase="failed"]`);
    assert.match(await page.textContent(id("leave-dialog")), /not available right now/);
    stand.mock.faults.refuse = {};
    await page.click(id("leave-submit"));

    await until(() => new URL(page.url()).hash, "#/");
    await until(() => new URL(other.url()).hash, "#/");
    await until(() => page.locator(id("room")).count(), 0);
    await luca.waitForSelector(`${id("members-notice")}:has-text("Mina left")`);
    assert.deepEqual([...room.members.keys()], ["luca"]);
    await write(luca, "alone now");
    await until(() => state(luca), "sent");
    await until(() => luca.textContent(id("members-notice")), "");

    // Added again, she reads on from there.
    await luca.click(id("room-add"));
    await luca.check(`${id("new-room-friend")}[data-user="mina"]`);
    await luca.click(id("room-add-submit"));
    await page.click(id("room"));
    await write(luca, "welcome back");
    await until(() => texts(page).then((all) => all.at(-1)), "welcome back");
  }));

test("opening a room again while it is not known whether it was opened makes no second one", () =>
  stage(async (stand) => {
    const { page } = await inRoom(stand);
    stand.mock.faults.deadlineMs = 1_000;
    stand.mock.faults.replyDelay.AddRoom = 6_000;
    await page.click(id("new-room"));
    await page.check(`${id("new-room-friend")}[data-user="luca"]`);
    await page.fill(id("new-room-name"), "Once");
    await page.click(id("new-room-submit"));
    await page.waitForSelector(`form ${id("request-note")}[data-phase="unknown"]`);
    await page.click(id("new-room-submit"));
    await page.waitForSelector(id("message-input"));
    assert.equal(stand.mock.calls.filter((call) => call === "POST /api/rooms").length, 1);
    assert.equal([...stand.mock.rooms.values()].filter((room) => room.roomName === "Once").length, 1);
  }));

test("lists that cannot be read say why, and are read when they can be", () =>
  stage(async ({ mock, open }) => {
    friends(mock);
    mock.faults.unavailable.add("ListRooms");
    const page = await open();
    await logIn(page, "mina");
    await page.waitForSelector(id("read-error"));
    assert.match(await page.textContent(id("read-error")), /not available right now.*Trying again/);
    assert.equal(await page.getAttribute(id("connection"), "data-state"), "resync");
    await page.waitForSelector(`${id("waiting")}[data-slow="true"]`);
    mock.faults.unavailable.clear();
    await live(page);
    await until(() => page.locator(id("read-error")).count(), 0);
    assert.equal(await page.locator(id("room")).count(), 1);
  }));
