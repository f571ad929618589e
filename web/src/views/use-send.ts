import { useEffect, useRef, useState } from "preact/hooks";
import type { Kind, ReplyOf, TrackedRequest } from "../parley-client";
import { isBusy, useRequest } from "./use-request";

interface Sender<K extends Kind, What> {
  request: TrackedRequest<K> | undefined;
  busy: boolean;
  send: (what: What) => void;
  /** Another try of what was sent last, for `RequestNote`. */
  retry: () => void;
}

/**
 * A form's requests, one at a time. Sending the very same again while it is not known whether it was done asks after
 * that one under its key, so that impatience never does a thing twice. `done` is not called once the form is gone: who
 * has moved on is not called back.
 */
export function useSend<K extends Kind, What>(
  make: (what: What, key?: string) => TrackedRequest<K>,
  done?: (reply: ReplyOf<K>, what: What) => void,
): Sender<K, What> {
  const [started, setStarted] = useState<TrackedRequest<K>>();
  const request = useRequest(started);
  const last = useRef<What | undefined>(undefined);
  const shown = useRef(true);
  const after = useRef(done);
  after.current = done;
  useEffect(
    () => () => {
      shown.current = false;
    },
    [],
  );

  const start = (what: What, key?: string) => {
    last.current = what;
    const made = make(what, key);
    setStarted(made);
    void made.result.then(
      (reply) => {
        if (shown.current) after.current?.(reply, what);
      },
      () => undefined, // The note says why.
    );
  };
  return {
    request,
    busy: isBusy(request),
    send: (what) => {
      if (isBusy(request)) return;
      if (request?.phase === "unknown" && JSON.stringify(what) === JSON.stringify(last.current)) void request.check();
      else start(what);
    },
    retry: () => {
      if (request !== undefined && last.current !== undefined) start(last.current, request.keyForRetry());
    },
  };
}
