import { useEffect, useState } from "preact/hooks";
import type { Kind, Phase, TrackedRequest } from "../parley-client";

/** Renders the component again with every change of the request. */
export function useRequest<K extends Kind>(request: TrackedRequest<K> | undefined): TrackedRequest<K> | undefined {
  const [, again] = useState(0);
  useEffect(() => request?.changes.on(() => again((n) => n + 1)), [request]);
  return request;
}

/** Whether the request is on its way and nothing can be done but wait. */
export function isBusy(request: { phase: Phase } | undefined): boolean {
  return request !== undefined && ["sending", "waiting", "slow"].includes(request.phase);
}
