// Reads an event stream with one of three parsers of npm, or in a page of Chromium, and prints each event as a line of JSON: [event, data, id].
// read.mjs PARSER URL COOKIE END   (ends after the event whose data holds END; exits 3 when the stream ends before, unless BACK is set
// and the parser comes back by itself). A time to wait that the parser tells is an event "retry".
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { launch } from "./browser.mjs";

const [parser, url, cookie, end] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(createRequire(`${process.env.PARSERS}/`).resolve(name)).href);
const names = ["hello", "resumed", "resync", "reply", "message", "room", "friend", "status", "cursor", "slow", "reconnect"];

function take(event, data, id) {
  process.stdout.write(`${JSON.stringify([event, data, id])}\n`, () => {
    if (data.includes(end)) process.exit(0);
  });
}

if (parser === "eventsource-parser") {
  const { createParser } = await load("eventsource-parser");
  const reader = createParser({
    onEvent: ({ event, data, id }) => take(event ?? "message", data, id ?? null),
    onRetry: (milliseconds) => take("retry", `${milliseconds}`, null),
    onError: (error) => {
      throw error;
    },
  });
  const response = await fetch(url, { headers: { cookie } });
  const text = new TextDecoder();
  for await (const chunk of response.body) reader.feed(text.decode(chunk, { stream: true }));
  process.exit(3);
}

if (parser === "chromium") {
  const page = await (await launch()).newPage();
  await page.exposeFunction("take", take);
  await page.exposeFunction("leave", () => process.exit(3));
  // Any page of the stream's own origin.
  await page.goto(new URL("/", url).href);
  await page.evaluate(
    ([url, names, back]) => {
      const source = new EventSource(url);
      for (const name of names) source.addEventListener(name, (event) => globalThis.take(name, event.data, event.lastEventId));
      source.onerror = () => (back && source.readyState !== EventSource.CLOSED) || globalThis.leave();
    },
    [url, names, Boolean(process.env.BACK)],
  );
  // The browser keeps this program running.
  await new Promise(() => {});
}

let source;
if (parser === "eventsource") {
  const { EventSource } = await load("eventsource");
  source = new EventSource(url, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, cookie } }),
  });
} else {
  const { Agent, EventSource } = await load("undici");
  const dispatcher = new Agent().compose((dispatch) => (options, handler) => {
    const headers = [...Object.entries(options.headers ?? {}).flat(), "cookie", cookie];
    return dispatch({ ...options, headers: Array.isArray(options.headers) ? [...options.headers, "cookie", cookie] : headers }, handler);
  });
  source = new EventSource(url, { node: { dispatcher }, dispatcher });
}
for (const name of names) source.addEventListener(name, (event) => take(name, event.data, event.lastEventId));
// The timer of a parser that waits may not keep the program running.
if (process.env.BACK) setInterval(() => {}, 1_000);
source.addEventListener("error", () => {
  if (!process.env.BACK || source.readyState === 2) process.exit(3);
});
