import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { DatabaseSpool } from "./database.ts";

function makeDatabase(file: string): Buffer {
  const database = new DatabaseSync(file);
  database.exec("create table t (x); create index i on t (x); begin");
  const insert = database.prepare("insert into t values (?)");
  for (let row = 0; row < 2000; row += 1) insert.run(`row ${row}`);
  database.exec("commit");
  database.close();
  return readFileSync(file);
}

function pass(spool: DatabaseSpool, path: string, bytes: Buffer): void {
  spool.begin({ path, kind: "file", mode: 0o600, mtime: "0", size: bytes.length });
  spool.write(bytes);
  spool.end();
}

test("a database that stands twice in a tarball is judged by its own bytes, not by those of the next one", async () => {
  using dir = tempDir();
  const sound = makeDatabase(join(dir.path, "sound.db"));
  const torn = Buffer.from(sound);
  torn.fill(0x5a, 8192, 12_288);
  const spool = new DatabaseSpool(dir.path);
  try {
    pass(spool, "untracked/a.db", torn);
    pass(spool, "untracked/a.db", sound);
    pass(spool, "untracked/b.db", torn);
    pass(spool, "untracked/c.db", torn);
    pass(spool, "untracked/c.db", Buffer.from("a database no more"));
    expect((await spool.check()).map(({ path }) => path)).toEqual(["untracked/b.db"]);
  } finally {
    spool.dispose();
  }
});
