// People on a running Parley, which PARLEY_ORIGIN names. They are made afresh at each run and stay there.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { id, launch, live, logIn as logInWith, watch } from "../browser.mjs";

export const origin = process.env.PARLEY_ORIGIN ?? "http://127.0.0.1:30080";
export const run = Date.now().toString(36);
// What every password of the end-to-end tests holds: hack/test/marker.sh looks for it.
export const password = "a generated password";
export const logIn = (page, user, typed = password) => logInWith(page, user, typed);
const faults = [];
let browser;
before(async () => {
  browser = await launch();
});
after(async () => {
  await browser.close();
  assert.deepEqual(faults.flat(), []);
});

/** A page of a browser of its own, at this place. */
export async function open(place = "", options = {}) {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  faults.push(watch(page, origin));
  await page.goto(`${origin}/${place}`);
  return page;
}

/** Somebody who signs up in the page, and is logged in there; `shown` is what others see. */
export async function person(name, shown = name) {
  const userId = `${name}-${run}`;
  const page = await open("#/signup");
  await page.fill(id("signup-user"), userId);
  await page.fill(id("signup-name"), shown);
  await page.fill(id("signup-email"), `${userId}@example.org`);
  await page.fill(id("signup-password"), password);
  await page.click(id("signup-submit"));
  await live(page);
  return { page, userId };
}

/** Somebody without a page: signed up and logged in through the HTTP API. */
export async function member(name) {
  const userId = `${name}-${run}`;
  const headers = { Origin: origin, "Content-Type": "application/json", Prefer: "wait=20" };
  const post = async (path, body) => {
    // A key is one's own: it needs a cookie.
    const key = headers.Cookie === undefined ? {} : { "Idempotency-Key": crypto.randomUUID() };
    const ask = () => fetch(`${origin}/api/${path}`, { method: "POST", body: JSON.stringify(body), headers: { ...headers, ...key } });
    let answer = await ask();
    // What a slow machine has late, or refuses for now, is asked again: under its key it is done once.
    for (const end = Date.now() + 240_000; [202, 429, 503].includes(answer.status) && Date.now() < end; answer = await ask()) {
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
    assert.equal(answer.status, 200, `POST ${path}`);
    const [cookie] = answer.headers.getSetCookie();
    if (cookie !== undefined) headers.Cookie = cookie.split(";")[0];
    return answer.json();
  };
  await post("users", { userId, userName: name, email: `${userId}@example.org`, password });
  await post("session", { userId, password });
  return { userId, post };
}

export async function friends(a, b) {
  await a.page.fill(id("add-friend-input"), `${b.userId} no-such-${run} ${a.userId}`);
  await a.page.click(id("add-friend-submit"));
  const result = (user) => a.page.getAttribute(`${id("add-friend-result")}[data-user="${user}"]`, "data-result");
  assert.deepEqual([await result(b.userId), await result(`no-such-${run}`), await result(a.userId)], ["added", "unknown", "self"]);
  await a.page.waitForSelector(`${id("friend")}[data-user="${b.userId}"]`);
  await b.page.waitForSelector(`${id("friend")}[data-user="${a.userId}"]`);
}

export async function room(a, b, name) {
  await a.page.click(id("new-room"));
  await a.page.check(`${id("new-room-friend")}[data-user="${b.userId}"]`);
  await a.page.fill(id("new-room-name"), name);
  await a.page.click(id("new-room-submit"));
  await a.page.waitForSelector(id("message-input"));
  return a.page.url().split("/").at(-1);
}

export async function write(page, text) {
  await page.fill(id("message-input"), text);
  await page.press(id("message-input"), "Enter");
}

export const texts = (page) => page.locator(id("message-text")).allTextContents();
