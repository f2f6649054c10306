/** Bundles src/ into dist/: the program in lazily loaded pieces, and two small files that start it. */
import { chmod, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as esbuild from "esbuild";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Bundled CommonJS dependencies call `require` for Node's own modules; an ES module has none. */
const requireBanner = 'import { createRequire as __createRequire } from "node:module";\nconst require = __createRequire(import.meta.url);';

/** Only after the runtime's version was looked at may the program be read. */
const mainStaysOutside = {
  name: "main-stays-outside",
  setup: (build) => build.onResolve({ filter: /^\.\.\/main\.ts$/ }, () => ({ path: "../main.js", external: true })),
};

export async function build({ from = root, into = join(root, "dist") } = {}) {
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  const common = {
    absWorkingDir: from,
    bundle: true,
    format: "esm",
    platform: "node",
    legalComments: "linked",
    logLevel: "warning",
    outdir: into,
    write: false,
    metafile: true,
  };
  const program = esbuild.build({
    ...common,
    entryPoints: { main: "src/main.ts" },
    target: "node22",
    splitting: true,
    chunkNames: "chunks/[name]-[hash]",
    banner: { js: requireBanner },
    define: { __VERSION__: JSON.stringify(version) },
  });
  const bins = esbuild.build({
    ...common,
    entryPoints: { "bin/holdfast": "src/bin/holdfast.ts", "bin/restore-from-git": "src/bin/restore-from-git.ts" },
    target: "node14.8",
    plugins: [mainStaysOutside],
  });
  const results = await Promise.all([program, bins]);
  refuseLazyCommonJs(results[0].metafile.inputs);
  results.push({ outputFiles: [{ path: join(into, "LICENSES.txt"), contents: await licences(from, results[0].metafile.inputs) }] });
  await place(
    into,
    results.flatMap((result) => result.outputFiles),
  );
}

/** esbuild gives `await import("a CommonJS package")` no named exports, while Node and vitest do: a difference that only users would meet. */
function refuseLazyCommonJs(inputs) {
  for (const [file, { imports }] of Object.entries(inputs)) {
    if (file.includes("node_modules/")) continue;
    const lazy = imports.find(({ kind, path }) => kind === "dynamic-import" && inputs[path]?.format === "cjs");
    if (lazy === undefined) continue;
    throw new Error(
      `${file}: import("${lazy.original}") of a CommonJS package has no named exports once bundled\n` +
        "hint: import it statically in a module of our own, and that one lazily",
    );
  }
}

/** The licence texts of every package that is bundled: they ask to travel with the code. */
async function licences(from, inputs) {
  const names = new Set(Object.keys(inputs).flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []));
  const texts = await Promise.all(
    [...names].sort().map(async (name) => {
      const folder = join(from, "node_modules", name);
      const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
      const file = (await readdir(folder)).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
      const text = file === undefined ? `${license}; the package ships no licence text` : await readFile(join(folder, file), "utf8");
      return `${name} ${version} (${license})\n\n${text.trim()}\n`;
    }),
  );
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

/** Hooks may run the old build meanwhile: each file is replaced whole, those that start others last, and leftovers go at the end. */
async function place(folder, files) {
  const order = (file) => ["chunks", "main.js", "bin"].findIndex((part) => file.path.startsWith(join(folder, part)));
  for (const { path, contents } of files.toSorted((a, b) => order(a) - order(b))) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.new`, contents);
    if (path.startsWith(join(folder, "bin"))) await chmod(`${path}.new`, 0o755);
    await rename(`${path}.new`, path);
  }
  const wanted = new Set(files.map((file) => file.path));
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isDirectory() && !wanted.has(path)) await rm(path, { force: true });
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await build().catch((error) => {
    if (error.errors === undefined) process.stderr.write(`error: ${error.message}\n`); // esbuild has told its own already
    process.exitCode = 1;
  });
}
