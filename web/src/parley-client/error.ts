import type { ErrorCode, ReplyBase } from "./types";

/**
 * Why a request did not succeed: a code of the contract, `network` when no answer came (the outcome
 * is then unknown), or `protocol` when an answer came that is not Parley's.
 */
export type FailureCode = ErrorCode | "network" | "protocol" | "lost";

// Listed as keys, so that the compiler misses the one that is missing.
const codes: Record<ErrorCode, true> = {
  invalid_request: true,
  unauthenticated: true,
  wrong_credentials: true,
  user_exists: true,
  user_not_found: true,
  room_not_found: true,
  not_a_member: true,
  not_a_friend: true,
  too_large: true,
  rate_limited: true,
  idempotency_mismatch: true,
  deadline_exceeded: true,
  unavailable: true,
  internal: true,
};

/** The one error type of this library. `detail` is English text for people. */
export class ParleyError extends Error {
  override readonly name = "ParleyError";
  readonly code: FailureCode;
  /** HTTP status, or 0 when the failure came as a reply event or as no answer at all. */
  readonly status: number;
  /** Milliseconds to wait before another try, when the server named them. */
  readonly retryAfterMs: number | undefined;

  constructor(code: FailureCode, detail: string, status = 0, retryAfterMs?: number) {
    super(detail);
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /**
   * Whether a worker has decided and stored this outcome. Then the same Idempotency-Key would only
   * bring the same answer again, and a further try needs a new key.
   */
  get decided(): boolean {
    return this.status === 0 && !["network", "protocol", "lost", "deadline_exceeded"].includes(this.code);
  }
}

/** Narrows text to the closed set; anything else is `internal`. */
export function asErrorCode(value: unknown): ErrorCode {
  return typeof value === "string" && Object.hasOwn(codes, value) ? (value as ErrorCode) : "internal";
}

/** The error that a reply with `isSuccess: false` stands for. */
export function errorOfReply(reply: ReplyBase): ParleyError {
  const retry = typeof reply.retryAfter === "number" ? reply.retryAfter * 1000 : undefined;
  return new ParleyError(asErrorCode(reply.errorCode), reply.errorMessage ?? "", 0, retry);
}
