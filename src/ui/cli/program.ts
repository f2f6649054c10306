/** The command line: what there is, and which file does it. Each command's code is loaded when it is asked for. */
import { Command, CommanderError, Option } from "commander";
import { version } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import type { CommandContext } from "./context.ts";
import { makeOutput, reportError, reportJson } from "./output.ts";

/** Gives the exit code. */
export async function runCli(args: readonly string[], signal: AbortSignal): Promise<number> {
  let exitCode: number = exitCodes.done;
  const program = new Command("holdfast")
    .description("Makes a git repository hard to lose: recovery points of everything in it, copied, proven, restorable with stock tools.")
    .version(version, "-V, --version")
    .option("-C <dir>", "run as if started in this folder")
    .option("--json", "answer with one JSON document on stdout")
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "error: ")) })
    .showHelpAfterError("hint: --help shows what there is")
    .exitOverride();

  const run =
    <Options extends object>(load: () => Promise<(context: CommandContext, options: Options, ...names: string[]) => Promise<number>>) =>
    async (...given: unknown[]): Promise<void> => {
      const command = given.at(-1) as Command;
      const options = command.optsWithGlobals<Options & { json?: boolean; C?: string }>();
      const output = makeOutput(options.json === true);
      const execute = await load();
      const names = given.slice(0, -2) as string[];
      exitCode = await execute({ cwd: options.C ?? process.cwd(), output, signal }, options, ...names);
      output.done();
    };
  const add = (definition: string, description: string): Command =>
    program.command(definition).description(description).option("--json", "answer with one JSON document on stdout");

  add("init", "protect this repository: store, hooks, first point, and a restore to prove it")
    .option("-y, --yes", "do not ask")
    .option("--store <url>", "where points are kept: a folder first, then copies (repeatable)", collect, [])
    .option("--primary <folder>", "where points go first, in place of the folder in the settings")
    .option("--mirror <remote>", "a git remote that gets all branches and tags (repeatable)", collect, [])
    .option("--no-hooks", "install no hooks")
    .option("--encrypt", "encrypt points; the default as soon as a store stands elsewhere")
    .option("--no-encrypt", "do not, even where a store stands elsewhere")
    .option("--identity <file>", "the secret key of an encrypted store that is joined, and of the points from now on")
    .option("--trust-config", "take the stores and mirrors of a backup.yaml that came with the repository")
    .action(run(async () => (await import("./init.ts")).init));

  add("backup", "make a point now")
    .addOption(new Option("--kind <kind>", "what for").choices(["manual", "daily", "pre-change"]).default("manual"))
    .option("-m, --message <text>", "why, in your words")
    .option("--ticket <id>", "the change that it is made before")
    .option("--retain <rule>", "how long to keep it: days_N, until_verified, permanent")
    .option("--full", "store everything again, building on nothing")
    .option("--dry-run", "say what would be in it")
    .action(run(async () => (await import("./backup.ts")).backup));

  add("points", "list the points")
    .option("--kind <kind>", "only of this kind")
    .option("--since <time>", "only from this time on")
    .option("--store <name>", "of this store instead of the primary")
    .option("--identity <file>", "the secret key that opens encrypted points")
    .option("--deleted", "what was pruned and can still be brought back")
    .action(run(async () => (await import("./points.ts")).points));

  add("show <point>", "what is in a point")
    .option("--files", "list its files")
    .option("--store <name>", "of this store instead of the primary")
    .option("--identity <file>", "the secret key that opens encrypted points")
    .action(run(async () => (await import("./points.ts")).show));

  add("find <glob>", "in which points a file is, and which versions of it")
    .option("--store <name>", "of this store instead of the primary")
    .option("--identity <file>", "the secret key that opens encrypted points")
    .action(run(async () => (await import("./find.ts")).find));

  add("diff <point> [other]", "what differs between two points, or a point and the worktree")
    .option("--store <name>", "of this store instead of the primary")
    .option("--identity <file>", "the secret key that opens encrypted points")
    .action(run(async () => (await import("./diff.ts")).diff));

  add("mark <point> <as>", "say that a point is verified, pinned (retention keeps it) or unpinned")
    .option("--by <name>", "who says it")
    .option("--note <text>", "in your words")
    .option("--store <name>", "in this store instead of the primary")
    .action(run(async () => (await import("./mark.ts")).mark));

  restoreOptions(add("restore [what]", "bring back a commit, a moment or a file: into a new folder, or --in-place")).action(
    run(async () => (await import("./restore.ts")).restore),
  );

  add("recover <store> <dir> [point]", "on a machine that has nothing: the newest moment of a store, or another, into a folder")
    .option("--at <time>", 'as it was then: "yesterday 18:00", "2 hours ago", 2026-11-21T14:30')
    .option("--hooks", "install the hooks again and make a point, where the primary store is here")
    .option("--primary <folder>", "where points go first on this machine, in place of the folder in the settings; makes a point")
    .option("--no-git", "do without the git program, as on a machine that has none")
    .option("--force", "restore a point whose signature does not hold")
    .option("--identity <file>", "the secret key that opens encrypted points")
    .action(run(async () => (await import("./recover.ts")).recover));

  add("status", "what would I lose now?")
    .option("--files", "explain for each path why it is in a point or out of it")
    .option("--acknowledge", "you have seen the force-pushes that it names: say them no more")
    .action(run(async () => (await import("./status.ts")).status));

  add("verify [point]", "is everything still there, and as it was written? of the whole store, or of a point and what it builds on")
    .option("--read-data [n/t]", "read every byte, or a share: 1/7, or auto/7 in a daily run")
    .option("--decode", "look inside too: git checks every pack, archives are read to their end, databases are asked")
    .option("--repair", "put back what is damaged, from the other stores")
    .option("--worktree", "compare the worktree with the newest point: what should be the same is read in samples")
    .option("--sample <percent>", "with --worktree: how much of it to read", "10")
    .option("--count-tolerance <percent>", "with --worktree: how far the number of files may be from the point's", "25")
    .option("--store <name>", "of this store instead of the primary")
    .option("--max-duration <seconds>", "begin nothing more after so long; the next run goes on from there")
    .option("--identity <file>", "the secret key that opens encrypted points")
    .action(run(async () => (await import("./verify.ts")).verify));

  add("sync", "bring copies and mirrors up to date")
    .option("--wait", "first let other runs finish, then go on until all is there, or cannot be")
    .action(run(async () => (await import("./sync.ts")).sync));

  add("mirror", "push branches and tags to the mirrors, each in its mode")
    .option("--check", "only read their tips back and compare")
    .action(run(async () => (await import("./sync.ts")).mirror));

  add("drill", "prove it: restore the newest point and an older one from a copy, compare, check, and keep the evidence")
    .option("--store <name>", "from this store; else the off-site copies in turn")
    .option("--check <command>", "a command of yours that tells whether the restored folder of the newest point is usable")
    .option("--identity <file>", "the secret key that opens encrypted points")
    .action(run(async () => (await import("./drill.ts")).drill));
  add("prune", "move the points that retention lets go into the trash, and say of each point why it stays")
    .option("--dry-run", "only say what would be done")
    .option("--store <name>", "only this store; in a copy also points that the primary never had")
    .option("--machine <name>", "points that were made on a machine of this name, in place of this one")
    .option("--force", "also when more than half of the machine's points would go")
    .action(run(async () => (await import("./prune.ts")).prune));

  add("undelete <point>", "bring a pruned point back, and pin it")
    .option("--store <name>", "in this store instead of the primary")
    .action(run(async () => (await import("./prune.ts")).undelete));

  add("catalogue", "write backup_metadata.json, the overview for people and scripts, anew")
    .option("--store <name>", "of this store instead of the primary")
    .action(run(async () => (await import("./mark.ts")).catalogue));

  add("doctor", "look for what is wrong, and mend what can be mended")
    .option("--no-mend", "only look")
    .action(run(async () => (await import("./doctor.ts")).doctor));

  add("session", "at the end of a session: a point if anything changed, and whether mirrors and copies have it; one line")
    .option("--wait <seconds>", "bring them up to date first, for so long at most")
    .action(run(async () => (await import("./session.ts")).session));

  add("hooks <action>", "install, uninstall or status of the git hooks")
    .option("--every-ref", "install: fire at every change of a ref (reference-transaction), also branch -D, reset, tag and fetch")
    .option("--no-every-ref", "install: take that one out again")
    .action(run(async () => (await import("./hooks.ts")).hooks));

  add("store <action> [name] [url]", "add, list, check or remove a store; a check tries out what the place can do")
    .option("--ref <ref>", "of a branch store: the whole name of the ref, such as refs/holdfast/backup")
    .option("--max-bytes <size>", 'of a branch store: copy only the newest points that fit, such as "2 GiB"')
    .option("--encrypt", "add: encrypt points from now on; the default for a store that stands elsewhere")
    .option("--no-encrypt", "add: plain points may go there")
    .action(run(async () => (await import("./store.ts")).store));

  add("key <action> [name]", "new, show, kit, add-recipient, rotate or rewrap: for whom points are encrypted; trust: whose signatures count")
    .option("--output <file>", "new, kit: write it here")
    .option("--passphrase", "new: protect the key by a passphrase")
    .option("--secret", "show: print the secret key itself")
    .option("--rewrap", "add-recipient, rotate: encrypt the points that exist again, too")
    .option("--identity <file>", "the secret key that opens encrypted points")
    .action(run(async () => (await import("./key.ts")).key));

  add("config <action>", "show or check the settings").action(run(async () => (await import("./config.ts")).config));

  program
    .command("worker <git-dir>", { hidden: true })
    .description("what a hook starts")
    .action(run(async () => (await import("./worker.ts")).worker));

  try {
    await program.parseAsync([...args], { from: "user" });
    return exitCode;
  } catch (error) {
    const isJson = args.includes("--json");
    if (!(error instanceof CommanderError)) return reportError(error, isJson);
    if (error.exitCode === 0 || error.code === "commander.help") return exitCodes.done;
    // Commander has written its own two lines to stderr.
    if (isJson) reportJson(new BackupError("usage", error.message.replace(/^error: /, "")));
    return exitCodes.usage;
  }
}

function restoreOptions(command: Command): Command {
  return command
    .option("--at <time>", 'as it was then: "yesterday 18:00", "2 hours ago", 2026-11-21T14:30')
    .option("--to <dir>", "into this folder: new or empty")
    .option("--path <glob>", "only these paths, without the repository (repeatable)", collect, [])
    .option("--from <store>", "read from this store")
    .option("--files-from <point>", "for a commit: untracked files of this point, or none")
    .option("--in-place", "write the files over the worktree, after a plan and a safety point")
    .option("--dry-run", "say what would be done")
    .option("--verify-only", "restore into a temporary folder, compare, and remove it")
    .option("--list", "list the points, or the files of the one asked for")
    .option("--lost", "list commits that no branch, tag or stash reaches any more, and how to bring them back")
    .option("--no-git", "do without the git program, as on a machine that has none")
    .option("--force", "do not ask for RESTORE to be typed (for scripts), and restore a point whose signature does not hold")
    .option("--identity <file>", "the secret key that opens encrypted points");
}

function collect(value: string, all: string[]): string[] {
  return [...all, value];
}
