/**
 * A repository that lives through chance: each step is one real git operation, of its owner or of a colleague who pushes to
 * its remote. Operations may fail, and may be left in the middle, as in life. The same seed gives the same steps and ids.
 */
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "./random.ts";
import { type TempDir, tempDir } from "./repo.ts";

export interface GitLife extends TempDir {
  /** The owner's main worktree. */
  readonly repo: string;
  readonly random: () => number;
  /** Does one operation and gives its name. */
  step(): string;
  /** Output of git in the owner's repository. Throws when it fails. */
  ask(args: readonly string[], input?: string): string;
}

const day0 = Date.UTC(2026, 0, 1) / 1000;

export function gitLife(seed: number): GitLife {
  const dir = tempDir();
  const random = seededRandom(seed);
  const [repo, origin, colleague] = ["repo", "origin.git", "colleague"].map((name) => join(dir.path, name)) as [string, string, string];
  let clock = 0;
  const run = (cwd: string, args: readonly string[], input = ""): { isOk: boolean; output: string } => {
    clock += 1;
    const date = `${day0 + clock * 60} +0000`;
    const env = {
      ...process.env, LC_ALL: "C", GIT_TERMINAL_PROMPT: "0", GIT_EDITOR: "true", FILTER_BRANCH_SQUELCH_WARNING: "1",
      GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date,
    }; // biome-ignore format: pairs
    const { status, stdout } = spawnSync("git", args, { cwd, input, encoding: "utf8", env, maxBuffer: 1 << 28 });
    return { isOk: status === 0, output: stdout };
  };
  const must = (cwd: string, args: readonly string[], input?: string): string => {
    const { isOk, output } = run(cwd, args, input);
    if (!isOk) throw new Error(`git ${args.join(" ")} failed`);
    return output;
  };
  const owner = (...args: readonly string[]): boolean => run(repo, args).isOk;
  const other = (...args: readonly string[]): boolean => run(colleague, args).isOk;
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
  const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");
  const refs = (...patterns: readonly string[]): string[] =>
    lines(run(repo, ["for-each-ref", "--format=%(refname:short)", ...patterns]).output).filter((name) => !name.endsWith("/HEAD"));
  const anyCommit = (): string => pick(lines(run(repo, ["rev-list", "-n", "30", "--all", "--reflog"]).output)) ?? "HEAD";
  const change = (root: string): void => {
    const name = `file-${Math.floor(random() * 12)}`;
    if (random() < 0.5) writeFileSync(join(root, name), `${clock} ${random()}\n`);
    else appendFileSync(join(root, name), `${clock}\n`);
  };
  const commitIn = (root: string, ...more: readonly string[]): void => {
    change(root);
    run(root, ["add", "--all"]);
    run(root, ["commit", "-q", "--allow-empty", "-m", `commit ${clock}`, ...more]);
  };
  const newName = (kind: string): string => `${kind}-${clock}`;
  const abort = (): void => {
    for (const [sign, name] of [
      ["MERGE_HEAD", "merge"],
      ["rebase-merge", "rebase"],
      ["rebase-apply", "rebase"],
      ["CHERRY_PICK_HEAD", "cherry-pick"],
    ] as const)
      if (existsSync(join(repo, ".git", sign))) owner(name, "--abort");
  };
  const worktrees = (): string[] => readdirSync(dir.path).filter((name) => name.startsWith("linked-"));

  const operations: readonly (readonly [weight: number, name: string, act: () => unknown])[] = [
    [24, "commit", () => commitIn(repo)],
    [6, "amend", () => commitIn(repo, "--amend")],
    [5, "rebase", () => owner("rebase", "-q", pick(refs("refs/heads")) ?? "HEAD~1")],
    [2, "rebase --onto", () => owner("rebase", "-q", "--onto", anyCommit(), `HEAD~${1 + Math.floor(random() * 3)}`)],
    [4, "merge --no-ff", () => owner("merge", "-q", "--no-ff", "--no-edit", pick(refs("refs/heads", "refs/remotes")) ?? "HEAD")],
    [3, "merge --ff-only", () => owner("merge", "-q", "--ff-only", pick(refs("refs/heads", "refs/remotes")) ?? "HEAD")],
    [4, "cherry-pick", () => owner("cherry-pick", "--allow-empty", anyCommit())],
    [5, "reset --hard", () => owner("reset", "-q", "--hard", random() < 0.5 ? `HEAD~${1 + Math.floor(random() * 4)}` : anyCommit())],
    [2, "reset --soft", () => owner("reset", "-q", "--soft", "HEAD~1")],
    [6, "branch", () => owner("branch", newName("branch"), anyCommit())],
    [4, "branch -D", () => owner("branch", "-D", pick(refs("refs/heads")) ?? "none")],
    [2, "branch -m", () => owner("branch", "-m", pick(refs("refs/heads")) ?? "none", newName("moved"))],
    [2, "branch -c", () => owner("branch", "-c", pick(refs("refs/heads")) ?? "none", newName("copied"))],
    [2, "branch -f", () => owner("branch", "-f", pick(refs("refs/heads")) ?? "none", anyCommit())],
    [7, "checkout", () => owner("checkout", "-q", "-f", pick(refs("refs/heads")) ?? "HEAD")],
    [3, "checkout --detach", () => owner("checkout", "-q", "-f", "--detach", anyCommit())],
    [1, "checkout --orphan", () => owner("checkout", "-q", "--orphan", newName("orphan"))],
    [2, "tag", () => owner("tag", newName("light"), anyCommit())],
    [2, "tag -a", () => owner("tag", "-a", "-m", "a tag", newName("annotated"), anyCommit())],
    [1, "tag -f", () => owner("tag", "-f", pick(refs("refs/tags")) ?? newName("light"), anyCommit())],
    [2, "tag -d", () => owner("tag", "-d", pick(refs("refs/tags")) ?? "none")],
    [5, "stash push", () => {
      change(repo);
      owner("stash", "push", "-q", "--include-untracked", "-m", `stash ${clock}`);
    }],
    [3, "stash drop", () => owner("stash", "drop", "-q", `stash@{${Math.floor(random() * 3)}}`)],
    [2, "stash pop", () => owner("stash", "pop", "-q")],
    [1, "stash clear", () => owner("stash", "clear")],
    [3, "note", () => owner("notes", "add", "-f", "-m", `note ${clock}`, anyCommit())],
    [4, "fetch --prune", () => owner("fetch", "-q", "--prune", "--tags", "--force")],
    [3, "pull --rebase", () => owner("pull", "-q", "--rebase", "origin", pick(lines(must(origin, ["for-each-ref", "--format=%(refname:short)", "refs/heads"]))) ?? "main")],
    [4, "push", () => owner("push", "-q", "origin", pick(refs("refs/heads")) ?? "HEAD")],
    [2, "push --force", () => owner("push", "-q", "--force", "origin", pick(refs("refs/heads")) ?? "HEAD")],
    [4, "colleague pushes", () => {
      other("pull", "-q", "--rebase");
      commitIn(colleague);
      other("push", "-q", "origin", "HEAD");
    }],
    [4, "colleague force-pushes", () => {
      other("reset", "-q", "--hard", `HEAD~${Math.floor(random() * 3)}`);
      commitIn(colleague, "--amend");
      other("push", "-q", "--force", "origin", "HEAD");
    }],
    [2, "colleague pushes a branch", () => other("push", "-q", "origin", `HEAD:refs/heads/${newName("theirs")}`)],
    [2, "colleague deletes a branch", () => other("push", "-q", "origin", "--delete", pick(lines(must(origin, ["for-each-ref", "--format=%(refname:short)", "refs/heads"]))) ?? "none")],
    [2, "worktree add", () => owner("worktree", "add", "-q", ...(random() < 0.5 ? ["--detach"] : ["-b", newName("linked")]), join(dir.path, newName("linked")), anyCommit())],
    [3, "commit in a worktree", () => {
      const name = pick(worktrees());
      if (name !== undefined) commitIn(join(dir.path, name));
    }],
    [2, "worktree remove", () => owner("worktree", "remove", "--force", join(dir.path, pick(worktrees()) ?? "none"))],
    [1, "filter-branch", () => owner("filter-branch", "-f", "--msg-filter", "cat; echo filtered", "--", "HEAD~2..HEAD")],
    [2, "commit --detached", () => {
      owner("checkout", "-q", "-f", "--detach");
      commitIn(repo);
    }],
    [1, "reflog expire", () => owner("reflog", "expire", "--expire=now", "--all")],
    [2, "reflog expire, gc --prune=now", () => {
      owner("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all");
      owner("gc", "-q", "--prune=now");
    }],
    [1, "gc", () => owner("gc", "-q")],
    [1, "repack into a cruft pack", () => owner("repack", "-q", "-d", "--cruft")],
    [1, "pack-refs", () => owner("pack-refs", "--all", "--prune")],
  ]; // biome-ignore format: a table
  const total = operations.reduce((sum, [weight]) => sum + weight, 0);

  must(dir.path, ["init", "-q", "--bare", "--initial-branch=main", origin]);
  mkdirSync(repo);
  must(repo, ["init", "-q", "--initial-branch=main"]);
  const settings = {
    "user.name": "An Owner",
    "user.email": "owner@example.org",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "rerere.enabled": "false",
  };
  for (const [key, value] of Object.entries(settings)) must(repo, ["config", key, value]);
  commitIn(repo);
  must(repo, ["remote", "add", "origin", origin]);
  must(repo, ["push", "-q", "-u", "origin", "main"]);
  must(dir.path, ["clone", "-q", origin, colleague]);
  for (const [key, value] of Object.entries(settings)) must(colleague, ["config", key, value.replace("Owner", "Colleague")]);

  return {
    ...dir,
    repo,
    random,
    step() {
      let at = random() * total;
      for (const [weight, name, act] of operations) {
        at -= weight;
        if (at >= 0) continue;
        act();
        // Half of what stands in the middle stays there, for the next steps to meet.
        if (random() < 0.5) abort();
        return name;
      }
      throw new Error("the weights do not add up");
    },
    ask: (args, input) => must(repo, args, input),
  };
}
