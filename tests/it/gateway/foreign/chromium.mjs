// Opens the event stream in a real Chromium and prints what the page hears as lines of JSON: [event, data, lastEventId];
// first ["protocol", "h2", ""] or "http/1.1", and ["closed", "", ""] when the browser has given up for good.
// chromium.mjs URL COOKIE
import { launch } from "./browser.mjs";

const [url, cookie] = process.argv.slice(2);
const browser = await launch();
// A proxy under test has a certificate that nobody signed.
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const [name, value] = cookie.split("=");
await context.addCookies([{ name, value, url: url.replace("http:", "https:"), secure: true, httpOnly: true, sameSite: "Lax" }]);
const page = await context.newPage();
await page.exposeFunction("tell", (...line) => process.stdout.write(`${JSON.stringify(line)}\n`));
// Any page of the origin will do; the one with the least of its own.
await page.goto(`${url}/api/openapi.json`);
await page.evaluate(() => {
  globalThis.tell("protocol", performance.getEntriesByType("navigation")[0].nextHopProtocol, "");
  const source = new EventSource("/api/events");
  for (const name of ["hello", "resumed", "resync", "reply", "message", "room", "friend", "status", "cursor", "slow", "reconnect"]) {
    source.addEventListener(name, (event) => globalThis.tell(name, event.data, event.lastEventId));
  }
  source.onmessage = (event) => globalThis.tell("unnamed", event.data, event.lastEventId);
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) globalThis.tell("closed", "", "");
  };
});
