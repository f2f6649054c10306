/**
 * Which files are in a point. Tracked files always are. Untracked files are, unless a pattern leaves them out.
 * Ignored files are left out, unless a pattern chooses them, and generated trees and caches never are.
 * Patterns are gitignore's. Pure.
 */
import ignore, { type Ignore } from "ignore";

/** Ignored files that people lose and miss. */
export const defaultInclude: readonly string[] = [
  ".env*", "*.env", ".envrc", "*.db", "*.db3", "*.sqlite*", "*.sqlite3", "*.db-wal", "*.db-shm", "*.kdbx",
  ".claude/", ".mcp.json", ".cursor/", ".codex/", ".gemini/", ".aider*", "CLAUDE.local.md", "AGENTS.local.md",
  ".vscode/", ".idea/", ".obsidian/", "*.local.json", "*.local.yaml", "*.local.yml", "*.local.toml",
  "*.pem", "*.key", "*.p12", "*.jks", "*.keystore", "*.tfstate", "*.tfvars", ".netrc", ".npmrc", ".pypirc",
  "docker-compose.override.y*ml", "backup.yaml", ".tool-versions", "notes/", "inbox/", "TODO*",
]; // biome-ignore format: groups

/** Trees that are made again by a command: never worth a byte, ignored or not. */
export const generatedTrees: readonly string[] = [
  "node_modules/", ".venv/", "__pycache__/", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".tox/", ".gradle/", ".next/", ".nuxt/",
  ".turbo/", ".parcel-cache/", ".cache/", ".DS_Store", "Thumbs.db", ".holdfast-*",
]; // biome-ignore format: groups

/** A quick look that is right whenever it says no. */
const perhapsGenerated = new RegExp(generatedTrees.map((pattern) => pattern.replace(/[/*]/g, "").replace(/[.]/g, "\\.")).join("|"));

/** Left out where git ignores them: build output, caches, logs, temporary files. */
export const ignoredNever: readonly string[] = [
  "dist/", "build/", "out/", "target/", "bin/", "obj/", "coverage/", "venv/", "env/", "vendor/bundle/", "Pods/", "DerivedData/",
  "*.log", "logs/", "log/", "*.tmp", "*.temp", "tmp/", "temp/", "*.swp", "*.swo", "*~", "*.pyc", "*.o", "*.obj", "*.class", "*.pid",
  "*.lock", "*.cache", "cache/", "caches/",
]; // biome-ignore format: groups

export interface PolicyPatterns {
  /** From backup.yaml, after the defaults; a leading `!` takes one back. */
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

export interface Verdict {
  readonly isIn: boolean;
  /** "untracked", "ignored, chosen by *.db", "generated: node_modules/", … */
  readonly reason: string;
}

export class Policy {
  readonly #include: Ignore;
  /** Undefined without patterns: every untracked file is judged, and there may be 100,000. */
  readonly #exclude: Ignore | undefined;
  readonly #generated: Ignore;
  readonly #never: Ignore;

  constructor(patterns: PolicyPatterns) {
    const make = (lines: readonly string[]): Ignore => ignore({ allowRelativePaths: true, ignorecase: false }).add([...lines]);
    this.#include = make([...defaultInclude, ...patterns.include]);
    this.#exclude = patterns.exclude.length === 0 ? undefined : make(patterns.exclude);
    this.#generated = make(generatedTrees);
    this.#never = make(ignoredNever);
  }

  /** For an untracked path that git does not ignore. A folder's path ends in "/". */
  judgeUntracked(path: string): Verdict {
    return this.#leftOut(path) ?? { isIn: true, reason: "untracked" };
  }

  /** For a path that git ignores. A folder's path ends in "/". */
  judgeIgnored(path: string): Verdict {
    const leftOut = this.#leftOut(path);
    if (leftOut !== undefined) return leftOut;
    const chosen = this.#include.checkIgnore(path);
    if (chosen.ignored) return { isIn: true, reason: `ignored, chosen by ${chosen.rule?.pattern ?? "include"}` };
    const never = this.#never.checkIgnore(path);
    if (never.ignored) return { isIn: false, reason: `ignored, never kept: ${never.rule?.pattern ?? ""}` };
    return { isIn: false, reason: "ignored, no include pattern chooses it" };
  }

  /** False for an ignored folder that nothing below can be chosen from. */
  mayDescend(folder: string): boolean {
    if (this.#generated.ignores(folder) || this.#exclude?.ignores(folder) === true) return false;
    return this.#include.ignores(folder) || !this.#never.ignores(folder);
  }

  #leftOut(path: string): Verdict | undefined {
    const exclude = this.#exclude?.checkIgnore(path);
    if (exclude?.ignored === true) return { isIn: false, reason: `excluded by ${exclude.rule?.pattern ?? "exclude"}` };
    if (!perhapsGenerated.test(path)) return undefined;
    const generated = this.#generated.checkIgnore(path);
    if (generated.ignored) return { isIn: false, reason: `generated: ${generated.rule?.pattern ?? ""}` };
    return undefined;
  }
}
