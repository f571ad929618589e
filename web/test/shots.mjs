// Screenshots of each view: light, dark, phone and Korean. `node test/shots.mjs [FOLDER]`, by default docs/screenshots.
// They show names in several scripts: with fonts for Korean and emoji (Debian: fonts-nanum, fonts-noto-color-emoji) only.
// With `pngquant` on the PATH they come out small.
import { spawnSync } from "node:child_process";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { id, launch, live, logIn } from "./browser.mjs";
import { startMock } from "./mock-gateway.mjs";

const folder = process.argv[2] ?? fileURLToPath(new URL("../../docs/screenshots", import.meta.url));
/** All of them together, for they lie in the repository. */
const mostBytes = 1_500_000;
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const mock = await startMock();
const browser = await launch();

const people = [
  ["mina", "Mina Park", "On call until Friday"],
  ["jonas", "Jonas Weber", ""],
  ["aiko", "Aiko Tanaka", "In Osaka this week"],
  ["seo.yeon", "김서연", "회의 중"],
  ["luca", "Luca Moretti", "Reviewing the upgrade plan"],
];
mock.addUser("dana", "Dana Kim", "Release day");
for (const [userId, name, status] of people) {
  mock.addUser(userId, name, status);
  mock.befriend("dana", userId);
}
const at = (minutes) => new Date(Date.now() - minutes * 60_000);
const release = mock.addRoom(["dana", "mina", "jonas", "luca"], "Release 4.2");
const talk = [
  ["mina", "Morning! The partition growth went through on staging, 2 to 4, nobody noticed a thing.", 1450],
  ["dana", "And the chat pool?", 1448],
  ["mina", "Followed by itself. Four pods within half a minute.", 1447],
  ["luca", "I have the upgrade plan ready. Three steps:\n1. grow the topic\n2. wait for the pool\n3. drain the old gateways", 62],
  ["luca", "Runbook is in the usual place.", 61],
  ["jonas", "Looks good to me 👍", 40],
  ["dana", "Then let us go at 14:00. I will watch the lag, Mina takes the brokers.", 38],
  ["mina", "Deal.", 12],
  ["jonas", "<script>alert('just text')</script> still shows as text, by the way", 4],
  ["mina", "مرحبا بالعالم — and right-to-left too", 3],
];
for (const [who, text, ago] of talk) mock.say(release, who, text, at(ago));
release.members.set("dana", 8);
const direct = mock.addRoom(["dana", "seo.yeon"]);
mock.say(direct, "seo.yeon", "점심 같이 먹을까요?", at(25));
const ops = mock.addRoom(["dana", "aiko", "luca"], "Ops");
mock.say(ops, "aiko", "Backups verified, restore took 4 minutes", at(3000));
ops.members.set("dana", 1);
mock.addRoom(["dana", "jonas"], "Empty room");

async function session(name, options, run) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "Europe/Berlin", ...options });
  const page = await context.newPage();
  const shot = async (view) => {
    // Nothing is pointed at, and nothing turns.
    await page.mouse.move(0, 0);
    await page.screenshot({ path: `${folder}/${view}-${name}.png`, animations: "disabled", caret: "hide" });
  };
  await run(page, shot);
  await context.close();
}

async function tour(page, shot) {
  const phone = page.viewportSize().width < 700;
  await page.goto(mock.url);
  await page.waitForSelector(id("login-user"));
  await shot("login");
  await page.click(id("go-signup"));
  await page.click(id("signup-submit"));
  await shot("signup");
  await page.click(id("go-login"));
  mock.faults.stall.add("Login");
  await logIn(page, "dana");
  await page.waitForSelector(id("signing-in"));
  await page.waitForSelector(`${id("signing-in")} .note`);
  await shot("signing-in");
  mock.faults.stall.clear();
  await page.click(`${id("signing-in")} > button`);
  await logIn(page, "dana");
  await live(page);
  await shot("home");
  if (phone) {
    await page.click(id("nav-friends"));
    await shot("friends");
    await page.click(id("nav-me"));
    await shot("me");
    await page.click(id("nav-rooms"));
  }
  await page.click(`${id("room")}[data-room="${release.roomId}"]`);
  await page.waitForSelector(`${id("message")}[data-seq="10"]`);
  mock.faults.refuse.AddChat = "rate_limited";
  await page.fill(id("message-input"), "Starting now.");
  await page.click(id("message-send"));
  await page.waitForSelector(`${id("message")}[data-state="failed"]`);
  mock.faults.refuse = {};
  mock.faults.stall.add("AddChat");
  await page.fill(id("message-input"), "Lag is at zero.");
  await page.click(id("message-send"));
  await page.waitForSelector(`${id("message")}[data-state="slow"]`);
  await shot("room");
  mock.faults.stall.clear();
  await page.click(id("room-leave"));
  await page.waitForSelector(`${id("leave-dialog")}[open]`);
  await shot("leave");
  await page.click(id("leave-cancel"));
  await page.waitForSelector(id("leave-dialog"), { state: "detached" });
  if (phone) await page.click(id("back"));
  await page.click(id("new-room"));
  await page.check(`${id("new-room-friend")}[data-user="mina"]`);
  await shot("new-room");
  if (phone) {
    await page.click(id("back"));
    await page.click(id("nav-friends"));
  }
  await page.fill(id("add-friend-input"), "mina nobody dana");
  await page.click(id("add-friend-submit"));
  await page.waitForSelector(id("add-friend-results"));
  mock.faults.streamsDown = true;
  mock.dropStreams();
  await page.waitForSelector(`${id("connection")}[data-state="reconnecting"]`);
  await shot("reconnecting");
  mock.faults.streamsDown = false;
}

await session("light", { viewport: { width: 1280, height: 800 }, colorScheme: "light" }, tour);
await session("dark", { viewport: { width: 1280, height: 800 }, colorScheme: "dark" }, tour);
await session("phone", { viewport: { width: 360, height: 740 }, colorScheme: "light", hasTouch: true }, tour);
await session("korean", { viewport: { width: 900, height: 740 }, colorScheme: "dark", locale: "ko-KR", timezoneId: "Asia/Seoul" }, async (page, shot) => {
  await page.goto(`${mock.url}/#/rooms/${direct.roomId}`);
  await logIn(page, "dana");
  await page.waitForSelector(`${id("message")}[data-seq="1"]`);
  await live(page);
  await shot("room");
});
await browser.close();
mock.close();

const names = (await readdir(folder)).map((name) => `${folder}/${name}`);
const quant = spawnSync("pngquant", ["--force", "--ext", ".png", "--speed", "1", "--quality", "80-100", "--strip", "--", ...names], { stdio: ["ignore", "inherit", "inherit"] });
if (quant.error !== undefined) console.error("pngquant is not there: the pictures stay large");
const sizes = await Promise.all(names.map(async (name) => (await stat(name)).size));
const bytes = sizes.reduce((sum, size) => sum + size, 0);
console.log(`${names.length} pictures, ${bytes} bytes: ${folder}`);
if (bytes > mostBytes) throw new Error(`more than ${mostBytes} bytes`);
