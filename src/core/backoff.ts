/** When to try again what failed. */

const firstDelayMs = 30_000;
const longestDelayMs = 6 * 60 * 60 * 1000;

/**
 * Whether it is too early to try what may be tried again at `nextAttemptAt`. A time further off than any wait was noted by a
 * clock that was ahead: it holds nothing up.
 */
export function mustWait(nextAttemptAt: Date | null, now: Date): boolean {
  const leftMs = nextAttemptAt === null ? 0 : nextAttemptAt.getTime() - now.getTime();
  return leftMs > 0 && leftMs <= longestDelayMs;
}

/** How long to wait after `failures` failures in a row: 30 s doubling to 6 h, a fifth more or less. `random` is in [0, 1). */
export function retryDelayMs(failures: number, random: number): number {
  const delay = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.max(0, failures - 1));
  return Math.min(longestDelayMs, Math.round(delay * (0.8 + 0.4 * random)));
}
