/**
 * What is remembered about each remote between runs: what we pushed, how it went, when to try again.
 * One JSON file a remote, written whole. It may be deleted: then nothing counts as pushed by us, and less is dared.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as z from "zod";
import { parseJson } from "../core/json.ts";
import { withoutCredentials } from "../git/run.ts";
import type { Tips } from "./layout.ts";
import { freshLfs, type LfsState } from "./lfs.ts";
import type { MirrorOutcome } from "./outcome.ts";
import { freshRetention, type Retention } from "./retention.ts";

export interface MirrorState {
  /** The last one, without its unchanged refs. */
  readonly outcome: MirrorOutcome | null;
  readonly lastOkAt: Date | null;
  /** What we pushed and read back, by its name there: what is ours in one mode is not ours in another. */
  readonly ours: Tips;
  /** Digest of the tips here, by their names there, when it was last seen to have them all; null when it has not. */
  readonly whole: string | null;
  /** The machine's name that our refs stand under there, whatever the host is called by now; null before the first run. */
  readonly machine: string | null;
  readonly retention: Retention;
  readonly lfs: LfsState;
  /** In a row, of remotes that did not answer or did not let us in. */
  readonly failures: number;
  /** Not before this; null when nothing stands in the way. */
  readonly nextAttemptAt: Date | null;
}

export const freshState: MirrorState = {
  outcome: null,
  lastOkAt: null,
  ours: new Map(),
  whole: null,
  machine: null,
  retention: freshRetention,
  lfs: freshLfs,
  failures: 0,
  nextAttemptAt: null,
};

export function digestOf(tips: Tips): string {
  const lines = [...tips].map(([ref, oid]) => `${oid} ${ref}\n`).sort();
  return createHash("sha256").update(lines.join("")).digest("hex");
}

/** The file of a remote: readable, and different for two URLs of one name. */
export function stateFile(stateDir: string, remote: string, url: string): string {
  const readable = withoutCredentials(remote)
    .replaceAll(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[-.]+/, "")
    .slice(0, 40);
  const hash = createHash("sha256")
    .update(`${withoutCredentials(remote)}\0${withoutCredentials(url)}`)
    .digest("hex");
  return join(stateDir, "mirrors", `${readable}-${hash.slice(0, 8)}.json`);
}

/** The fresh state where there is none, or where it cannot be read: a damaged memory must not stop a mirror. */
export async function readState(file: string): Promise<MirrorState> {
  const text = await readFile(file, "utf8").catch(() => "");
  const parsed = stored.safeParse(parseJson(text));
  if (!parsed.success) return freshState;
  const { ours, outcome, retention, lfs, ...rest } = parsed.data;
  return {
    ...rest,
    outcome: outcome as MirrorOutcome | null,
    ours: new Map(Object.entries(ours)),
    retention: { ...retention, kept: new Map(Object.entries(retention.kept)) },
    lfs: { ...lfs, done: new Map(Object.entries(lfs.done)) },
  };
}

/** All that is remembered, also of remotes that are no longer mirrored: `outcome.remote` tells. Asks nobody. */
export async function readStates(stateDir: string): Promise<MirrorState[]> {
  const names = await readdir(join(stateDir, "mirrors")).catch(() => []);
  return Promise.all(names.filter((name) => name.endsWith(".json")).map((name) => readState(join(stateDir, "mirrors", name))));
}

export async function writeState(file: string, state: MirrorState): Promise<void> {
  const outcome = state.outcome === null ? null : { ...state.outcome, refs: state.outcome.refs.filter((ref) => ref.action !== "unchanged") };
  const plain = (_key: string, value: unknown): unknown => (value instanceof Map ? Object.fromEntries(value) : value);
  const text = `${JSON.stringify({ ...state, outcome }, plain, 1)}\n`;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${randomBytes(4).toString("hex")}`;
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

const moment = z.iso.datetime().transform((text) => new Date(text));
const oid = z.string().regex(/^[0-9a-f]{40,64}$/);

const refOutcome = z.object({
  ref: z.string(),
  action: z.enum(["create", "fast_forward", "rewrite", "delete", "unchanged", "ahead", "foreign", "spared"]),
  status: z.enum(["ok", "behind", "rejected"]),
  local: oid.nullable(),
  remote: oid.nullable(),
  note: z.string().optional(),
});

const keptTip = z.object({ ref: z.string(), oid, keptAs: z.string() });

const retention = z.object({
  elapsedMs: z.number().nonnegative(),
  seenAt: moment.nullable(),
  kept: z.record(z.string(), z.object({ oid, sinceMs: z.number() })),
});

const lfs = z.object({
  done: z.record(z.string(), oid),
  note: z.string().nullable(),
  failures: z.int().nonnegative(),
  nextAttemptAt: moment.nullable(),
});

/** What has a default came after the first version: its files are read too. */
const stored = z.object({
  outcome: z
    .object({
      remote: z.string(),
      url: z.string(),
      status: z.enum(["ok", "behind", "rejected", "unauthorized", "unreachable"]),
      refs: z.array(refOutcome),
      kept: z.array(keptTip),
      expired: z.array(keptTip).default([]),
      notes: z.array(z.string()).default([]),
      message: z.string().optional(),
      hint: z.string().optional(),
      at: moment,
      nextAttemptAt: moment.optional(),
    })
    .nullable(),
  lastOkAt: moment.nullable(),
  ours: z.record(z.string(), oid),
  whole: z.string().nullable().default(null),
  machine: z.string().nullable().default(null),
  retention: retention.default({ elapsedMs: 0, seenAt: null, kept: {} }),
  lfs: lfs.default({ done: {}, note: null, failures: 0, nextAttemptAt: null }),
  failures: z.int().nonnegative(),
  nextAttemptAt: moment.nullable(),
});
