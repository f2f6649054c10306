import { setTimeout as delay } from "node:timers/promises";

/** Asks again and again until the answer is true, without counting on any speed; throws after `deadlineMs`. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, deadlineMs = 60_000): Promise<void> {
  const startedAt = performance.now();
  while (!(await isSo())) {
    if (performance.now() - startedAt > deadlineMs) throw new Error(`after ${deadlineMs} ms still not: ${what}`);
    await delay(25);
  }
}
