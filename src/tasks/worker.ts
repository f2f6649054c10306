/** What a hook starts. */
import { type App, now, openApp } from "../app.ts";
import { describeError } from "../core/errors.ts";
import { stateDirOf } from "../state/layout.ts";
import { makePointNow } from "./point.ts";
import { type SyncOptions, syncCopies, syncMirrors } from "./sync.ts";

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
    startReplication: (replicationSignal) => {
      // Each on its own: a mirror that hangs does not keep a copy from its next round.
      const parts = [copyAndPrune, syncMirrors].map(
        (part) =>
          new Repeated(async () => {
            const fresh = { ...(await openApp(commonDir)), log: app.log };
            await part(fresh, { force: false, signal: replicationSignal });
          }),
      );
      return {
        request: () => {
          for (const part of parts) part.request();
        },
        idle: async () => void (await Promise.all(parts.map((part) => part.idle()))),
      };
    },
    log: app.log,
    signal,
  });
}

/** The primary is pruned first: what goes there need not be copied. Pruning never fails what it stands beside. */
async function copyAndPrune(app: App, options: SyncOptions & { readonly signal: AbortSignal }): Promise<void> {
  const { pruneWhenDue } = await import("./prune.ts");
  await pruneWhenDue(app, "primary", options.signal);
  await syncCopies(app, options);
  await pruneWhenDue(app, "copies", options.signal);
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
