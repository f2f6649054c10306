/**
 * The documents that are made from the program: in docs/cli.md each command's help and the table of errors, and docs/schemas/.
 * `node scripts/build.mjs && node scripts/docs.ts` writes them anew; test/docs.test.ts fails when they are old.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as z from "zod";
import { errorKinds } from "../src/core/errors.ts";
import { manifestSchema } from "../src/core/manifest.ts";
import { metadataSchema } from "../src/points/metadata.ts";

export const cliDocs = fileURLToPath(new URL("../docs/cli.md", import.meta.url));
const program = fileURLToPath(new URL("../dist/bin/holdfast.js", import.meta.url));

/** The text with every `<!-- made: NAME -->` … `<!-- end -->` part made anew. Throws for a NAME that does not exist. */
export function renderCliDocs(text: string): string {
  return text.replace(/(<!-- made: (.+?) -->\n).*?(<!-- end -->)/gs, (_, start: string, name: string, end: string) => `${start}${make(name)}${end}`);
}

/** The names of all parts that docs/cli.md must have: one for each command of the help, and the errors. */
export function wantedParts(): string[] {
  return ["help", ...commandNames().map((name) => `help ${name}`), "errors"];
}

/** The files of docs/schemas with their texts. */
export function renderSchemas(): ReadonlyMap<string, string> {
  const schemas = { manifest: manifestSchema, backup_metadata: metadataSchema };
  return new Map(
    Object.entries(schemas).map(([name, schema]) => {
      const file = fileURLToPath(new URL(`../docs/schemas/${name}.schema.json`, import.meta.url));
      return [file, `${JSON.stringify({ title: `${name} of a Holdfast store`, ...z.toJSONSchema(schema) }, undefined, 2)}\n`];
    }),
  );
}

function make(name: string): string {
  if (name === "errors") return errorTable();
  const [kind, ...command] = name.split(" ");
  if (kind !== "help") throw new Error(`docs/cli.md asks for ${name}, which nothing makes`);
  return `\n\`\`\`\n${help(...command)}\`\`\`\n\n`;
}

function errorTable(): string {
  const rows = Object.entries(errorKinds).map(
    ([code, { exit, hint, retryable }]) => `| \`${code}\` | ${exit} | ${hint} | ${retryable ? "yes" : ""} |\n`,
  );
  return `\n| code | exit | what to do | may pass by itself |\n|---|---|---|---|\n${rows.join("")}\n`;
}

function commandNames(): string[] {
  const commands = help().split("\nCommands:\n")[1] ?? "";
  return [...commands.matchAll(/^ {2}([a-z]+)/gm)].flatMap(([, name = ""]) => (name === "help" ? [] : [name]));
}

function help(...command: readonly string[]): string {
  return execFileSync(process.execPath, [program, ...command, "--help"], { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  writeFileSync(cliDocs, renderCliDocs(readFileSync(cliDocs, "utf8")));
  for (const [file, text] of renderSchemas()) writeFileSync(file, text);
}
