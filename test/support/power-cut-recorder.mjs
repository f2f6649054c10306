/**
 * Loaded before the program (`node --import`): records what a run does to the folder HOLDFAST_RECORD_ROOT, and what of it was made durable,
 * as records in HOLDFAST_RECORD_JOURNAL. Only fsync makes anything durable: of a file its bytes, of a folder its names.
 *
 * Records, one JSON document a line: `{op:"folder", id, entries}` a folder's names as a program sees them now; `{op:"sync-folder", id, entries}`;
 * `{op:"sync-file", id, sum}` with the bytes in `blobs/SUM`. An id is device, inode and birth of what it names.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { dirname, join, resolve } from "node:path";

const root = resolve(process.env.HOLDFAST_RECORD_ROOT);
const journal = resolve(process.env.HOLDFAST_RECORD_JOURNAL);
const original = { ...fs };
const paths = new WeakMap();

fs.mkdirSync(join(journal, "blobs"), { recursive: true });

const isInside = (path) => typeof path === "string" && (path === root || path.startsWith(`${root}/`));

function write(record) {
  original.appendFileSync(join(journal, "records"), `${JSON.stringify(record)}\n`);
}

function idOf(path) {
  const stat = original.lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}-${stat.ino}-${stat.birthtimeNs}`;
}

function entriesOf(folder) {
  return original.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const id = idOf(join(folder, entry.name));
    return id === undefined ? [] : [[entry.name, entry.isDirectory() ? "folder" : "file", id]];
  });
}

function noteFolder(op, folder) {
  const id = isInside(folder) ? idOf(folder) : undefined;
  if (id !== undefined) write({ op, id, entries: entriesOf(folder) });
}

function noteFile(path) {
  const bytes = original.readFileSync(path);
  const sum = createHash("sha256").update(bytes).digest("hex");
  const blob = join(journal, "blobs", sum);
  if (!original.existsSync(blob)) original.writeFileSync(blob, bytes);
  write({ op: "sync-file", id: idOf(path), sum });
}

/** The folders whose names a call changes: those of its path arguments. */
const changing = ["link", "unlink", "rename", "rm", "mkdir", "rmdir", "mkdtemp", "writeFile", "appendFile", "copyFile", "symlink"];

function after(given, result) {
  const named = [...given, typeof result === "string" ? result : undefined].filter((path) => typeof path === "string");
  for (const folder of new Set(named.map((path) => dirname(resolve(path))))) noteFolder("folder", folder);
}

for (const name of changing) {
  const promised = fs.promises[name];
  fs.promises[name] = async (...given) => {
    const result = await promised(...given);
    after(given.slice(0, 2), result);
    return result;
  };
  const sync = fs[`${name}Sync`];
  if (sync === undefined) continue;
  fs[`${name}Sync`] = (...given) => {
    const result = sync(...given);
    after(given.slice(0, 2), result);
    return result;
  };
}

const open = fs.promises.open;
fs.promises.open = async (path, ...rest) => {
  const handle = await open(path, ...rest);
  if (isInside(path)) {
    paths.set(handle, path);
    if (typeof rest[0] === "string" && /[wax+]/.test(rest[0])) noteFolder("folder", dirname(path));
  }
  return handle;
};

const handle = await open(process.execPath, "r");
const prototype = Object.getPrototypeOf(handle);
await handle.close();
const sync = prototype.sync;
prototype.sync = async function () {
  await sync.call(this);
  const path = paths.get(this);
  if (path === undefined || idOf(path) === undefined) return;
  if ((await this.stat()).isDirectory()) noteFolder("sync-folder", path);
  else noteFile(path);
};

syncBuiltinESMExports();
