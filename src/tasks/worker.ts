/** What a hook starts. */
import { type App, now, openApp } from "../app.ts";
import { copyConfigs, primaryStore } from "../app-stores.ts";
import { describeError } from "../core/errors.ts";
import type { Replication } from "../hooks/worker.ts";
import { stateDirOf } from "../state/layout.ts";
import { syncCopy } from "./copies.ts";
import { makePointNow } from "./point.ts";
import { pruneWhenDue } from "./prune.ts";
import { syncMirrors } from "./sync.ts";

/** What a hook starts: points for the marks, copies and mirrors beside them, until nothing is left to do. */
export async function runHookWorker(commonDir: string, signal: AbortSignal): Promise<void> {
  const { ignoreTerminal, runWorker } = await import("../hooks/worker.ts");
  ignoreTerminal();
  const { answerProbe } = await import("../hooks/probe.ts");
  if (answerProbe(stateDirOf(commonDir))) return;
  const app = await openApp(commonDir);
  const { pointKindOf } = await import("../hooks/events.ts");
  await runWorker({
    stateDir: app.state.root,
    now,
    makePoint: async (events, pointSignal) => {
      // The settings and worktrees may have changed since the worker began.
      const fresh = { ...(await openApp(commonDir)), log: app.log };
      await mendHooks(fresh);
      await makePointNow(fresh, { kind: pointKindOf(events), isAsked: false, signal: pointSignal });
    },
    startReplication: (replicationSignal) => new Followers(async () => ({ ...(await openApp(commonDir)), log: app.log }), replicationSignal),
    log: app.log,
    signal,
  });
}

/** One hook of ours still fired; those that a hook manager has overwritten would be silent for ever. */
async function mendHooks(app: App): Promise<void> {
  const { findOverwritten } = await import("../hooks/overwritten.ts");
  const overwritten = await findOverwritten(app.repository);
  if (overwritten.length === 0) return;
  const { installHere } = await import("./protect.ts");
  try {
    await installHere(app.repository);
    app.log.write("hooks_mended", { overwritten });
  } catch (error) {
    app.log.write("hooks_not_mended", { overwritten, message: describeError(error) });
  }
}

/** The mirrors, and each copy on its own: one that hangs for hours keeps no other from its next round. */
class Followers implements Replication {
  readonly #roster: Repeated;
  readonly #mirrors: Repeated;
  readonly #copies = new Map<string, Repeated>();

  /** `open` gives the settings as they are now. */
  constructor(open: () => Promise<App>, signal: AbortSignal) {
    this.#roster = new Repeated(async () => {
      const app = await open();
      // First: what goes there need not be copied.
      await pruneWhenDue(app, primaryStore(app).name, signal);
      for (const { name } of copyConfigs(app)) this.#copyOf(name, open, signal).request();
    });
    this.#mirrors = new Repeated(async () => void (await syncMirrors(await open(), { force: false, signal })));
  }

  request(): void {
    this.#roster.request();
    this.#mirrors.request();
  }

  async idle(): Promise<void> {
    const ends = await Promise.allSettled([this.#roster.idle(), this.#mirrors.idle()]);
    // The roster has started them all by now. A rejection is told when none is at work any more.
    ends.push(...(await Promise.allSettled([...this.#copies.values()].map((copy) => copy.idle()))));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  #copyOf(name: string, open: () => Promise<App>, signal: AbortSignal): Repeated {
    const known = this.#copies.get(name);
    if (known !== undefined) return known;
    const copy = new Repeated(async () => {
      const app = await open();
      const config = copyConfigs(app).find((store) => store.name === name);
      // Whoever sends to it now may have begun before the newest point: it is waited for, however long it takes.
      if (config === undefined) return;
      const { status } = await syncCopy(app, config, { force: false, lockWaitMs: Number.POSITIVE_INFINITY, signal });
      if (status === "ok") await pruneWhenDue(app, name, signal);
    });
    this.#copies.set(name, copy);
    return copy;
  }
}

/** Work that is asked for again and again, done once at a time; requests during a run become one run after it. */
class Repeated {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | undefined;
  #isAsked = false;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  request(): void {
    this.#isAsked = true;
    this.#running ??= this.#run();
    // Whoever waits for `idle` hears of the failure; nobody waiting must not end the process.
    this.#running.catch(() => undefined);
  }

  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#isAsked) {
        this.#isAsked = false;
        await this.#work();
      }
    } finally {
      this.#running = undefined;
    }
  }
}
