/**
 * Times whole processes: Holdfast beside restic, borg and stock git + tar + zstd, on the same data in the same run.
 *
 *   node scripts/bench/peers.ts [--repository DIR] [--files N] [--runs N]
 *
 * --repository: a clone of it is the history (else one of 10,000 commits is made); --files: that many small untracked
 * files instead of 5,000 notes, a log and a database of 50 MB. Needs `npm run build`. Peers that are not there are left out.
 * Everything happens in a temporary folder under TMPDIR; give it a quiet disk or a tmpfs.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: { repository: { type: "string" }, files: { type: "string" }, runs: { type: "string", default: "3" } },
});
const runs = Number(options.runs);
const root = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
const holdfast = join(import.meta.dirname, "../../dist/bin/holdfast.js");
const environment = {
  PATH: process.env["PATH"] ?? "",
  HOME: root,
  XDG_DATA_HOME: join(root, "data"),
  XDG_CACHE_HOME: join(root, "cache"),
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  RESTIC_PASSWORD: "bench",
  BORG_BASE_DIR: join(root, "borg-base"),
  TZ: "UTC",
};

interface Peer {
  readonly name: string;
  /** Run before each full one; what it does is not timed. */
  prepare(): void;
  full(): string[];
  /** The same call again; undefined where it would be another full one. */
  again(): string[] | undefined;
  restore(target: string): string[];
  stored(): number;
}

const work = join(root, "work");
makeData();
const results = new Map<string, number[]>();
for (let run = 0; run < runs; run += 1) for (const peer of peers()) measure(peer);
print();
rmSync(root, { recursive: true, force: true });

function measure(peer: Peer): void {
  peer.prepare();
  time(`${peer.name}|full`, peer.full());
  note(`${peer.name}|full MiB`, peer.stored() / 2 ** 20);
  if (peer.again() !== undefined) {
    time(`${peer.name}|no change`, peer.again() ?? []);
    const before = peer.stored();
    appendFileSync(join(work, firstNote()), "one more line\n");
    time(`${peer.name}|one line`, peer.again() ?? []);
    note(`${peer.name}|one line KiB`, (peer.stored() - before) / 1024);
    execFileSync("git", ["commit", "-q", "--allow-empty", "-m", "bench"], { cwd: work, env: { ...environment, HOLDFAST_DISABLE: "1" } });
    appendFileSync(join(work, trackedFile()), "// one more line\n");
    execFileSync("git", ["commit", "-q", "-a", "-m", "bench"], { cwd: work, env: { ...environment, HOLDFAST_DISABLE: "1" } });
    const beforeCommit = peer.stored();
    time(`${peer.name}|one-line commit`, peer.again() ?? []);
    note(`${peer.name}|one-line commit KiB`, (peer.stored() - beforeCommit) / 1024);
  }
  const target = join(root, "target");
  time(`${peer.name}|restore`, peer.restore(target));
  rmSync(target, { recursive: true, force: true });
}

function peers(): Peer[] {
  const all: Peer[] = [ours(), resticPeer(), borgPeer(), stockPeer()];
  return all.filter(({ name }) => name === "holdfast" || (name === "git+tar+zstd" ? has("zstd") : has(name)));
}

function ours(): Peer {
  const store = join(root, "store");
  const call = (...args: string[]): string[] => [process.execPath, holdfast, "-C", work, ...args];
  return {
    name: "holdfast",
    prepare: () => {
      rmSync(join(work, ".git/holdfast"), { recursive: true, force: true });
      rmSync(store, { recursive: true, force: true });
      rmSync(join(root, "cache"), { recursive: true, force: true });
      // An empty repository's first point makes the store; the one that is timed is a full one into it.
      execFileSync(process.execPath, [holdfast, "-C", emptyRepository(), "init", "--yes", "--no-hooks", "--store", store], {
        env: environment,
        stdio: "ignore",
      });
      writeFileSync(join(work, "backup.yaml"), `stores:\n  - name: local\n    url: ${store}\n`);
    },
    full: () => call("backup", "--full"),
    again: () => call("backup"),
    restore: (target) => call("restore", "latest", "--to", target),
    stored: () => sizeOf(store),
  };
}

function resticPeer(): Peer {
  const store = join(root, "restic");
  return {
    name: "restic",
    prepare: () => {
      rmSync(store, { recursive: true, force: true });
      rmSync(join(root, "cache"), { recursive: true, force: true });
      execFileSync("restic", ["-q", "-r", store, "init"], { env: environment });
    },
    full: () => ["restic", "-q", "-r", store, "backup", work],
    again: () => ["restic", "-q", "-r", store, "backup", work],
    restore: (target) => ["restic", "-q", "-r", store, "restore", "latest", "--target", target],
    stored: () => sizeOf(store),
  };
}

function borgPeer(): Peer {
  const store = join(root, "borg");
  return {
    name: "borg",
    prepare: () => {
      rmSync(store, { recursive: true, force: true });
      rmSync(environment.BORG_BASE_DIR, { recursive: true, force: true });
      execFileSync("borg", ["init", "-e", "none", store], { env: environment, stdio: "ignore" });
    },
    full: () => ["borg", "create", "-C", "zstd,3", `${store}::{now:%s%f}`, work],
    again: () => ["borg", "create", "-C", "zstd,3", `${store}::{now:%s%f}`, work],
    restore: (target) => ["sh", "-c", `mkdir -p ${target} && cd ${target} && borg extract ${store}::"$(borg list --last 1 --short ${store})"`],
    stored: () => sizeOf(store),
  };
}

function stockPeer(): Peer {
  const store = join(root, "stock");
  return {
    name: "git+tar+zstd",
    prepare: () => {
      rmSync(store, { recursive: true, force: true });
      mkdirSync(store);
    },
    full: () => [
      "sh",
      "-c",
      `cd ${work} && git bundle create -q ${store}/b --all && git ls-files -z -o | tar --null -T - -cf - | zstd -q -3 -T2 -f -o ${store}/t.zst`,
    ],
    again: () => undefined,
    restore: (target) => ["sh", "-c", `git clone -q ${store}/b ${target} && zstd -q -dc ${store}/t.zst | tar -xf - -C ${target}`],
    stored: () => sizeOf(store),
  };
}

function time(name: string, [command = "", ...args]: readonly string[]): void {
  const startedAt = performance.now();
  const result = spawnSync(command, args, { env: environment, stdio: ["ignore", "ignore", "pipe"] });
  const ms = performance.now() - startedAt;
  if (result.status !== 0) throw new Error(`${name}: exit ${result.status}: ${result.stderr.toString()}`);
  note(`${name} ms`, ms);
}

function note(name: string, value: number): void {
  results.set(name, [...(results.get(name) ?? []), value]);
}

function print(): void {
  const files =
    options.files === undefined ? "5,000 notes, a 50 MB log, a 50 MB database" : `${Number(options.files).toLocaleString("en")} small files`;
  process.stdout.write(`${files}; medians of ${runs} runs\n`);
  for (const [name, values] of results) {
    const sorted = [...values].sort((a, b) => a - b);
    const [peer = "", what = ""] = name.split("|");
    process.stdout.write(
      `${peer.padEnd(13)} ${what.padEnd(22)} ${(sorted[Math.floor(sorted.length / 2)] ?? 0).toFixed(1).padStart(10)}   (${(sorted[0] ?? 0).toFixed(1)} to ${(sorted.at(-1) ?? 0).toFixed(1)})\n`,
    );
  }
}

function makeData(): void {
  if (options.repository === undefined) makeHistory();
  else execFileSync("git", ["clone", "-q", "--no-local", options.repository, work], { env: environment });
  for (const [key, value] of [
    ["user.name", "Bench"],
    ["user.email", "bench@localhost"],
  ] as const)
    execFileSync("git", ["config", key, value], { cwd: work });
  if (options.files !== undefined) return makeFiles(Number(options.files), 1000);
  makeFiles(5000, 50);
  let log = "";
  for (let line = 0; log.length < 50e6; line += 1)
    log += `2026-11-21T${String(line % 86_400).padStart(8, "0")} INFO request ${line} took ${line % 977} ms id=${randomBytes(6).toString("hex")}\n`;
  writeFileSync(join(work, "agent.log"), log);
  const database = new DatabaseSync(join(work, "state.db"));
  database.exec("create table events (id integer primary key, kind text, body blob); begin");
  const insert = database.prepare("insert into events (kind, body) values (?, ?)");
  for (let row = 0; row < 62_000; row += 1)
    insert.run(
      `kind ${row % 40} of a thing that happened while nobody looked`,
      Buffer.concat([randomBytes(200), Buffer.from(JSON.stringify({ row, state: "open", tries: row % 7 }).repeat(10))]),
    );
  database.exec("commit");
  database.close();
}

function makeFiles(count: number, folders: number): void {
  for (let folder = 0; folder < folders; folder += 1) mkdirSync(join(work, `notes/${folder}`), { recursive: true });
  for (let file = 0; file < count; file += 1) {
    const body = Array.from(
      { length: 30 },
      (_, line) => `- [ ] item ${(file * 31 + line * 7) % 1009}: ask about ${(file * 17 + line) % 499} and write it down`,
    ).join("\n");
    writeFileSync(join(work, `notes/${file % folders}/note-${file}.md`), `# Note ${file}\n\n${randomBytes(30).toString("base64")}\n${body}\n`);
  }
}

/** 10,000 commits over 400 files, by `git fast-import`. */
function makeHistory(): void {
  execFileSync("git", ["init", "-q", "-b", "main", work], { env: environment });
  let stream = "";
  for (let commit = 1; commit <= 10_000; commit += 1) {
    const body = Array.from({ length: 40 }, (_, line) => `line ${line} of ${(commit * (line + 3)) % 811}`).join("\n");
    stream += `commit refs/heads/main\nmark :${commit}\ncommitter Bench <bench@localhost> ${1_700_000_000 + commit * 60} +0000\ndata 4\nwork\n${commit > 1 ? `from :${commit - 1}\n` : ""}`;
    stream += `M 100644 inline src/part-${commit % 20}/file-${commit % 400}.ts\ndata ${body.length}\n${body}\n`;
  }
  execFileSync("git", ["fast-import", "--quiet"], { cwd: work, env: environment, input: stream, maxBuffer: 1 << 30 });
  execFileSync("git", ["reset", "-q", "--hard", "main"], { cwd: work, env: environment });
}

function emptyRepository(): string {
  const folder = mkdtempSync(join(root, "empty-"));
  execFileSync("git", ["init", "-q", folder], { env: environment });
  return folder;
}

function firstNote(): string {
  return "notes/0/note-0.md";
}

function trackedFile(): string {
  return (
    execFileSync("git", ["ls-files"], { cwd: work, env: environment })
      .toString()
      .split("\n")
      .find((name) => /\.(?:py|ts|go|md|rst)$/.test(name)) ?? "README.md"
  );
}

function sizeOf(folder: string): number {
  let size = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) size += statSync(join(entry.parentPath, entry.name)).size;
  return size;
}

function has(command: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${command}`], { env: environment }).status === 0;
}
