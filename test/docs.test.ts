import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { cliDocs, renderCliDocs, renderSchemas, wantedParts } from "../scripts/docs.ts";
import { configName } from "../src/core/config.ts";
import { defaultInclude, generatedTrees, ignoredNever } from "../src/core/policy.ts";
import { stateLayout } from "../src/state/layout.ts";

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");

describe("docs/cli.md", () => {
  const text = readFileSync(cliDocs, "utf8");

  test("has the help of every command and the table of errors", () => {
    const parts = [...text.matchAll(/<!-- made: (.+?) -->/g)].map((match) => match[1]);
    expect(parts.toSorted()).toEqual(wantedParts().toSorted());
  });

  test("says what the program says (else: node scripts/docs.ts)", () => {
    expect(renderCliDocs(text)).toBe(text);
  });
});

test("docs/schemas say what the program writes (else: node scripts/docs.ts)", () => {
  for (const [file, text] of renderSchemas()) expect(readFileSync(file, "utf8")).toBe(text);
});

describe("docs/configuration.md", () => {
  const text = read("docs/configuration.md");

  test("names every default pattern", () => {
    const missing = [...defaultInclude, ...generatedTrees, ...ignoredNever].filter((pattern) => !text.includes(`\`${pattern}\``));
    expect(missing).toEqual([]);
  });

  test("names the settings file and every variable of .env.example", () => {
    const variables = [...read(".env.example").matchAll(/^#? ?([A-Z][A-Z_]+)=/gm)].map(([, name = ""]) => name);
    expect(variables.length).toBeGreaterThan(5);
    expect([configName, ...variables].filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });
});

describe(".env.example", () => {
  test("names each variable once", () => {
    const names = [...read(".env.example").matchAll(/^#? ?([A-Z][A-Z_]+)=/gm)].map(([, name = ""]) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  test("names every variable of ours that a test may be given", () => {
    const text = read(".env.example");
    const [, list = ""] = /forTheTestsThemselves = \[(.*?)\]/s.exec(read("test/support/environment.ts")) ?? [];
    const given = list.match(/HOLDFAST_[A-Z_]+/g) ?? [];
    expect(given.length).toBeGreaterThan(5);
    expect(given.filter((name) => !text.includes(`${name}=`))).toEqual([]);
  });

  test("names every variable of ours that the program and its hooks know", () => {
    const text = read(".env.example");
    const files = ["src", "hooks"].flatMap((folder) => filesBelow(folder)).filter((file) => !file.endsWith(".test.ts"));
    const used = new Set(files.flatMap((file) => readFileSync(file, "utf8").match(/\bHOLDFAST_[A-Z]+(?:_[A-Z]+)*\b/g) ?? []));
    expect([...used].filter((name) => !text.includes(`${name}=`))).toEqual([]);
  });
});

test("every file of this repository that a document names is there", () => {
  const documents = [
    "README.md",
    ...readdirSync(new URL("../docs", import.meta.url))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `docs/${name}`),
  ];
  const named = documents.flatMap((document) =>
    [...read(document).matchAll(/`([^`\n]+)`/g)]
      .flatMap(([, code = ""]) => code.match(/(?<!\S)(?:src|test|scripts|docs|vault|hooks)\/[\w./-]+/g) ?? [])
      .map((path) => ({ document, path })),
  );
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter(({ path }) => !existsSync(new URL(`../${path}`, import.meta.url)))).toEqual([]);
});

test("docs/design.md has everything that lies in the state folder in its table", () => {
  const [, table = ""] = /^## State on the machine\n(.*?)^## /ms.exec(read("docs/design.md")) ?? [];
  const { root, ...files } = stateLayout("");
  const rows = table.split("\n").filter((line) => line.startsWith("| `"));
  const names = rows.flatMap((row) => row.split("|")[1]?.match(/(?<=`)[^`]+(?=`)/g) ?? []).map((name) => name.replace(/\/$/, ""));
  expect(Object.values(files).filter((name) => !names.includes(name))).toEqual([]);
  expect(root).toBe("");
});

describe("README.md", () => {
  test("names no point that its list of points does not have: its transcripts are of one session", () => {
    const text = read("README.md");
    const [, list = ""] = /^\$ holdfast points\n(.*?)^```$/ms.exec(text) ?? [];
    const ids = (part: string): string[] => part.match(/\b\d{8}T\d{6}Z-[0-9a-f]{6}\b/g) ?? [];
    expect(ids(list).length).toBeGreaterThan(1);
    expect(new Set(ids(text))).toEqual(new Set(ids(list)));
  });
});

function filesBelow(folder: string): string[] {
  const path = fileURLToPath(new URL(`../${folder}`, import.meta.url));
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
