/**
 * Remembers the last `capacity` keys. Replies and events come at least once, so doubles are dropped
 * by key; a double arrives within seconds of the first, so a bounded memory is enough.
 */
export class RecentKeys {
  readonly #keys = new Set<string>();
  readonly #capacity: number;

  constructor(capacity = 2048) {
    this.#capacity = capacity;
  }

  /** True when the key is new. */
  add(key: string): boolean {
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    if (this.#keys.size > this.#capacity) {
      const oldest = this.#keys.values().next();
      if (oldest.done !== true) this.#keys.delete(oldest.value);
    }
    return true;
  }

  clear(): void {
    this.#keys.clear();
  }
}

/**
 * The versions of state held, by subject. A state event that is not newer than what is held (a
 * replayed, delayed or repeated one) is refused.
 */
export class Versions {
  readonly #held = new Map<string, number>();

  /** True when `version` is newer than what is held, which it then replaces. */
  accept(subject: string, version: number): boolean {
    const held = this.#held.get(subject);
    if (held !== undefined && version <= held) return false;
    this.#held.set(subject, version);
    return true;
  }

  clear(): void {
    this.#held.clear();
  }
}
