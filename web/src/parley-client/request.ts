import { call, type Call } from "./api";
import { Emitter } from "./emitter";
import { errorOfReply, ParleyError } from "./error";
import type { Http } from "./http";
import type { Accepted, Kind, Reply, ReplyOf } from "./types";

/**
 * Where a request stands.
 * - `sending`: on its way to a gateway; `waiting`: accepted (202), its reply is due
 * - `slow`: either of these for more than a second
 * - `unknown`: not known yet; it may have taken effect or may still
 * - `done`, `failed`: settled
 */
export type Phase = "sending" | "waiting" | "slow" | "unknown" | "done" | "failed";

export interface RequestSpec<K extends Kind = Kind> extends Call {
  kind: K;
  /** Whether the call takes an Idempotency-Key, which makes sending it again harmless. */
  keyed: boolean;
  /** `Prefer: wait=N`, for reads. */
  waitSeconds?: number;
  /** What has to be done before the call; when it fails the call counts as one without an answer. */
  before?: () => Promise<unknown>;
}

const slowAfterMs = 1_000;
/** Sending again by itself after a call that got no answer: these waits, then it is for the user to say. */
const resendAfterMs = [400, 1_500, 4_000];
/** How long after the deadline a reply may still be under way. */
const graceMs = 1_000;
/** Further looks at a request that is past its deadline and not settled, by itself. */
const lookAgainMs = [3_000, 6_000, 12_000, 24_000, 30_000];
/**
 * A request whose id was made of its key carries no time, so a gateway cannot tell "never" from "not yet". By this long
 * after its deadline no worker begins it any more, and the longest drain is over.
 */
const neverAfterMs = 60_000;
const fallbackDeadlineMs = 15_000;

/** One request, from the call to its settlement by a reply event or by `GET /api/requests/{id}`. */
export class TrackedRequest<K extends Kind = Kind> {
  readonly spec: RequestSpec<K>;
  readonly startedAt = Date.now();
  /** Emits after every change of `phase`, `requestId` or `error`. */
  readonly changes = new Emitter<this>();
  /** Resolves with the successful reply; rejects with the `ParleyError` of a failure. Open while unknown. */
  readonly result: Promise<ReplyOf<K>>;

  phase: Phase = "sending";
  requestId: string | undefined;
  error: ParleyError | undefined;
  reply: ReplyOf<K> | undefined;
  /** The Idempotency-Key in use. */
  key: string | undefined;

  readonly #http: Http;
  readonly #newKey: () => string;
  #resolve: (reply: ReplyOf<K>) => void = () => undefined;
  #reject: (error: ParleyError) => void = () => undefined;
  #timers = new Set<ReturnType<typeof setTimeout>>();
  #looking = false;
  /** By this page's clock. */
  #deadline = Infinity;

  constructor(spec: RequestSpec<K>, http: Http, newKey: () => string, key?: string) {
    this.spec = spec;
    this.#http = http;
    this.#newKey = newKey;
    this.key = spec.keyed ? (key ?? newKey()) : undefined;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // A caller that only watches `changes` must not be punished for it.
    this.result.catch(() => undefined);
  }

  get settled(): boolean {
    return this.phase === "done" || this.phase === "failed";
  }

  /** Sends the call; the tracker does so once. */
  start(): void {
    this.#after(slowAfterMs, () => {
      if (this.phase === "sending" || this.phase === "waiting") this.#become("slow");
    });
    void this.#send(0);
  }

  /** Takes a reply that speaks of this request. Later ones change nothing. */
  settle(reply: Reply): void {
    if (this.settled) return;
    this.reply = reply as ReplyOf<K>;
    if (reply.isSuccess) {
      this.#end("done");
      this.#resolve(this.reply);
    } else this.#fail(errorOfReply(reply));
  }

  /** Looks whether an `unknown` request has been settled meanwhile; sends it again where that is the way. */
  async check(): Promise<void> {
    if (this.settled) return;
    if (this.requestId === undefined) {
      if (this.spec.keyed) await this.#send(0);
      return;
    }
    await this.#look();
  }

  /** Gives up the timers, for a page that goes. */
  dispose(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  async #send(attempt: number): Promise<void> {
    const { waitSeconds, before } = this.spec;
    try {
      await before?.();
      const answer = await this.#http.call(this.spec, {
        ...(this.key === undefined ? {} : { key: this.key }),
        ...(waitSeconds === undefined ? {} : { waitSeconds }),
      });
      if (this.settled) return;
      if (answer.status === 202) this.#accepted(answer.body as Accepted, answer.serverNow);
      else this.#answered(answer.body);
    } catch (cause) {
      if (!this.settled) this.#notAnswered(cause, attempt);
    }
  }

  #accepted(accepted: Accepted | undefined, serverNow: number | undefined): void {
    if (typeof accepted?.requestId !== "string") {
      this.#fail(new ParleyError("protocol", "a 202 without a requestId", 202));
      return;
    }
    this.requestId = accepted.requestId;
    if (this.phase === "sending") this.phase = "waiting";
    this.changes.emit(this);
    if (this.settled) return; // Its reply was there before the 202.
    // The deadline is the server's time; only its distance from the answer's own date means anything here.
    const left = Date.parse(accepted.deadline ?? "") - (serverNow ?? Date.now());
    const wait = Number.isFinite(left) ? Math.min(60_000, Math.max(1_000, left)) : fallbackDeadlineMs;
    this.#deadline = Date.now() + wait;
    this.#after(wait + graceMs, () => {
      if (!this.settled) void this.#overdue(0);
    });
  }

  async #overdue(turn: number): Promise<void> {
    await this.#look();
    if (this.settled) return;
    this.#become("unknown");
    const again = lookAgainMs[turn];
    if (again !== undefined) this.#after(again, () => void this.#overdue(turn + 1));
  }

  #answered(body: unknown): void {
    const reply = asReply(body, this.spec.kind);
    if (reply === undefined) this.#fail(new ParleyError("protocol", "an answer that is no reply", 200));
    else this.settle(reply);
  }

  #notAnswered(cause: unknown, attempt: number): void {
    const error = cause instanceof ParleyError ? cause : new ParleyError("network", String(cause));
    if (error.code !== "network") {
      this.#fail(error);
      return;
    }
    this.error = error;
    const again = resendAfterMs[attempt];
    if (this.spec.keyed && again !== undefined) {
      this.#after(again, () => {
        if (!this.settled && this.requestId === undefined) void this.#send(attempt + 1);
      });
      return;
    }
    // Without a key (login, reads) nothing is lost by asking anew, so it is a failure and not a riddle.
    if (this.spec.keyed) this.#become("unknown");
    else this.#fail(error);
  }

  async #look(): Promise<void> {
    if (this.#looking || this.requestId === undefined) return;
    this.#looking = true;
    try {
      const answer = await this.#http.call(call("get", "/api/requests/{requestId}", { params: { requestId: this.requestId } }));
      if (this.settled || answer.status === 202) return;
      this.#answered(answer.body);
    } catch (cause) {
      // No outcome was stored: final only when it could not run any more.
      const never = Date.now() > this.#deadline + neverAfterMs;
      if (never && cause instanceof ParleyError && cause.status === 404 && !this.settled) {
        this.#fail(new ParleyError("lost", cause.message, 404));
      }
    } finally {
      this.#looking = false;
    }
  }

  /** The key for another try: the same while the outcome is open, a new one once it was refused. */
  keyForRetry(): string {
    return this.key === undefined || this.error?.decided === true ? this.#newKey() : this.key;
  }

  #fail(error: ParleyError): void {
    this.error = error;
    this.#end("failed");
    this.#reject(error);
  }

  #end(phase: "done" | "failed"): void {
    if (phase === "done") this.error = undefined;
    this.dispose();
    this.#become(phase);
  }

  #become(phase: Phase): void {
    this.phase = phase;
    this.changes.emit(this);
  }

  #after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }
}

function asReply(body: unknown, kind: Kind): Reply | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  const fields = body as Record<string, unknown>;
  if (typeof fields["isSuccess"] !== "boolean") return undefined;
  return { kind, ...fields } as Reply;
}
