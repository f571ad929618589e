import type { Call } from "./api";
import { asErrorCode, ParleyError } from "./error";

export interface CallOptions {
  /** Sent as `Idempotency-Key`. */
  key?: string;
  /** Sent as `Prefer: wait=N`: the gateway holds the call for up to N seconds. */
  waitSeconds?: number;
}

/** A successful answer (status 200 to 299). `body` is as described when the status is 200, and undefined for 204. */
export interface Answer<T = unknown> {
  status: number;
  body: T;
  /** The server's clock by its `Date` header, in milliseconds; undefined when it sent none. */
  serverNow: number | undefined;
}

export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** Longer than the longest `Prefer: wait` that this library sends, so that only a lost call ends by it. */
const callTimeoutMs = 20_000;

/** A thin wrapper of `fetch`: JSON both ways, problem+json turned into `ParleyError`. */
export class Http {
  readonly #fetch: Fetch;
  readonly #base: string;

  constructor(fetcher: Fetch, base: string) {
    this.#fetch = fetcher;
    this.#base = base;
  }

  /** @throws ParleyError on any status outside 200 to 299 and when no answer came. */
  async call<T>({ method, path, body: sent }: Call<T>, options: CallOptions = {}): Promise<Answer<T>> {
    const headers: Record<string, string> = { accept: "application/json, application/problem+json, */*;q=0.1" };
    // Every change is declared as JSON, also one without a body: the gateway refuses others as cross-site.
    if (method !== "GET") headers["content-type"] = "application/json";
    if (options.key !== undefined) headers["idempotency-key"] = options.key;
    if (options.waitSeconds !== undefined) headers["prefer"] = `wait=${options.waitSeconds}`;
    const init: RequestInit = {
      method,
      headers,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      signal: AbortSignal.timeout(callTimeoutMs),
    };
    if (sent !== undefined) init.body = JSON.stringify(sent);

    let response: Response;
    let text: string;
    try {
      response = await this.#fetch(this.#base + path, init);
      text = await response.text();
    } catch (cause) {
      throw new ParleyError("network", cause instanceof Error ? cause.message : "no answer");
    }
    const body = parse(text);
    if (!response.ok) throw problem(response, body);
    const date = Date.parse(response.headers.get("date") ?? "");
    return { status: response.status, body: body as T, serverNow: Number.isNaN(date) ? undefined : date };
  }
}

function parse(text: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** RFC 9457 to `ParleyError`. An answer without `code` comes from something before the gateway. */
function problem(response: Response, body: unknown): ParleyError {
  const fields = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const detail = [fields["detail"], fields["title"], fields["errorMessage"]].find((v) => typeof v === "string");
  const given = fields["code"] ?? fields["errorCode"];
  const code = given === undefined ? codeOfStatus(response.status) : asErrorCode(given);
  return new ParleyError(
    code,
    typeof detail === "string" ? detail : `HTTP ${response.status}`,
    response.status,
    retryAfter(response.headers.get("retry-after")),
  );
}

function codeOfStatus(status: number) {
  if (status === 401) return "unauthenticated";
  if (status === 413) return "too_large";
  if (status === 429) return "rate_limited";
  if (status === 502 || status === 503 || status === 504) return "unavailable";
  return status >= 500 ? "internal" : "invalid_request";
}

/** Seconds or an HTTP date (RFC 9110, 10.2.3), as milliseconds from now. */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
