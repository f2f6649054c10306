/**
 * The worker's sign of life for the hooks' shell, which knows only `-nt` and `kill -0`: a file with the pid,
 * whose time is kept ahead of the clock, so that it is newer than any mark for as long as the worker renews it.
 */
import { mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

const aheadMs = 10_000;
const renewalMs = 2_000;

export interface Lease {
  /** From here on a hook starts a worker of its own. */
  end(): void;
}

/** Only for the holder of the worker's lock. The renewal does not keep the process alive. */
export function takeLease(path: string, now: () => Date): Lease {
  const renew = (): void => {
    const ahead = new Date(now().getTime() + aheadMs);
    try {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, `${process.pid}\n`);
      utimesSync(path, ahead, ahead);
    } catch {
      // A full or read-only disk: hooks then start workers in vain, which find the lock held and end.
    }
  };
  renew();
  const timer = setInterval(renew, renewalMs).unref();
  return {
    end() {
      clearInterval(timer);
      rmSync(path, { force: true });
    },
  };
}
