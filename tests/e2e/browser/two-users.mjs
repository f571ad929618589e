// Two people in two browsers: sign up, become friends, open a room, chat both ways over SSE; pause; chat again.
// Says one JSON line a step on standard output; goes on from a pause when a line comes on standard input.
//
//   node two-users.mjs http://127.0.0.1:30080
import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

// The browser driver is one of the web client's packages.
const { chromium } = createRequire(new URL('../../../web/package.json', import.meta.url))('playwright-core');

const base = process.argv[2];
const run = Date.now().toString(36);
const say = (step, rest = {}) => console.log(JSON.stringify({ step, ...rest }));
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const profile = mkdtempSync(join(tmpdir(), 'parley-e2e-'));

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});

// One person: a browser context of their own, hence a cookie of their own.
async function person(name) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const problems = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy|Uncaught/.test(message.text())) problems.push(message.text());
  });
  const on = (id) => page.getByTestId(id);
  return { name: `${name}-${run}`, page, on, problems };
}

async function signUp({ name, page, on }) {
  await page.goto(base);
  await on('go-signup').click();
  await on('signup-user').fill(name);
  await on('signup-password').fill(`a generated password of ${name}`);
  await on('signup-email').fill(`${name}@example.com`);
  await on('signup-name').fill(name);
  await on('signup-submit').click();
}

// After a sign-up the page may log in by itself or ask for it.
async function logIn({ name, on }) {
  await on('connection').or(on('login-submit')).first().waitFor();
  if (await on('login-submit').isVisible()) {
    await on('login-user').fill(name);
    await on('login-password').fill(`a generated password of ${name}`);
    await on('login-submit').click();
  }
  await live({ on });
}

const live = ({ on }) => on('connection').and(on('connection').locator('xpath=self::*[@data-state="live"]')).first().waitFor();

async function write({ on }, text) {
  await on('message-input').fill(text);
  await on('message-send').click();
}

// Waits until a settled message with this text is on the page, and gives its number.
async function read({ page }, text) {
  const row = page.locator('[data-testid="message"][data-seq]', { hasText: text }).first();
  await row.waitFor();
  return Number(await row.getAttribute('data-seq'));
}

// How many times a text is on the page: once, unless something was doubled.
const times = ({ page }, text) => page.locator('[data-testid="message"]', { hasText: text }).count();

async function chat(from, to, text) {
  await write(from, text);
  const heard = { text, at: await read(to, text), own: await read(from, text) };
  heard.times = [await times(from, text), await times(to, text)];
  return heard;
}

let failed = false;
try {
  const [amy, ben] = [await person('amy'), await person('ben')];
  for (const one of [amy, ben]) {
    await signUp(one);
    await logIn(one);
  }
  say('logged-in');

  await amy.on('add-friend-input').fill(ben.name);
  await amy.on('add-friend-submit').click();
  await amy.page.locator(`[data-testid="friend"][data-user="${ben.name}"]`).first().waitFor();
  await ben.page.locator(`[data-testid="friend"][data-user="${amy.name}"]`).first().waitFor();
  say('friends');

  await amy.on('new-room').click();
  await amy.page.locator(`[data-testid="new-room-friend"][data-user="${ben.name}"]`).first().click();
  await amy.on('new-room-submit').click();
  await amy.on('message-input').waitFor();
  await ben.on('room').first().click();
  await ben.on('message-input').waitFor();
  say('room');

  const first = [await chat(amy, ben, 'hello from amy'), await chat(ben, amy, '<b>hello</b> from ben')];
  say('chatted', { messages: first });

  await input.next();
  const second = [await chat(amy, ben, 'more from amy'), await chat(ben, amy, 'more from ben')];
  say('chatted-again', { messages: second });

  // What a reload shows comes from PostgreSQL: the same, once each.
  await amy.page.reload();
  await live(amy);
  const after = [];
  for (const { text } of [...first, ...second]) after.push({ text, at: await read(amy, text), times: await times(amy, text) });
  say('reloaded', { messages: after, problems: [...amy.problems, ...ben.problems] });
} catch (error) {
  failed = true;
  console.error(error);
  for (const [n, context] of browser.contexts().entries()) {
    for (const page of context.pages()) {
      const path = join(tmpdir(), `parley-e2e-failed-${n}.png`);
      await page.screenshot({ path }).then(() => console.error(`what the page showed: ${path}`), () => {});
    }
  }
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
