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
    .option("--mirror <remote>", "a git remote that gets all branches and tags (repeatable)", collect, [])
    .option("--no-hooks", "install no hooks")
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
    .action(run(async () => (await import("./points.ts")).points));

  add("show <point>", "what is in a point")
    .option("--files", "list its files")
    .option("--store <name>", "of this store instead of the primary")
    .action(run(async () => (await import("./points.ts")).show));

  restoreOptions(add("restore [what]", "bring back a commit, a moment or a file: into a new folder, or --in-place")).action(
    run(async () => (await import("./restore.ts")).restore),
  );

  add("recover <store> <dir>", "on a machine that has nothing: the newest moment of a store, into a folder").action(
    run(async () => (await import("./recover.ts")).recover),
  );

  add("status", "what would I lose now?")
    .option("--files", "explain for each path why it is in a point or out of it")
    .option("--acknowledge", "you have seen the force-pushes that it names: say them no more")
    .action(run(async () => (await import("./status.ts")).status));

  add("sync", "bring copies and mirrors up to date")
    .option("--wait", "first let a running worker finish")
    .action(run(async () => (await import("./sync.ts")).sync));

  add("mirror", "push branches and tags to the mirrors, each in its mode")
    .option("--check", "only read their tips back and compare")
    .action(run(async () => (await import("./sync.ts")).mirror));

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
    .action(run(async () => (await import("./store.ts")).store));

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
    .option("--force", "do not ask for RESTORE to be typed (for scripts)");
}

function collect(value: string, all: string[]): string[] {
  return [...all, value];
}
