import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { encodePath } from "../core/paths.ts";
import { checkDatabase } from "./sqlite.ts";

function makeDatabase(file: string): Buffer {
  const database = new DatabaseSync(file);
  database.exec("create table parent (id integer primary key); create table child (parent integer references parent (id))");
  database.exec("insert into parent values (1); create index i on child (parent); begin");
  for (let row = 0; row < 2000; row += 1) database.exec("insert into child values (1)");
  database.exec("commit");
  database.close();
  return readFileSync(file);
}

describe("a database", () => {
  // The second is a name of bytes that are not UTF-8.
  test.each(["plain.db", "\udcff.db"])("%j is opened by its own name, and no other is made", async (name) => {
    using dir = tempDir();
    const sound = makeDatabase(join(dir.path, "made.db"));
    const torn = Buffer.from(sound);
    torn.fill(0x5a, 8192, 12_288);
    const folder = join(dir.path, "restored");
    mkdirSync(folder);
    writeFileSync(encodePath(`${folder}/${name}`), sound);
    expect(await checkDatabase(`${folder}/${name}`)).toEqual([]);
    writeFileSync(encodePath(`${folder}/${name}`), torn);
    expect(await checkDatabase(`${folder}/${name}`)).not.toEqual([]);
    expect(readdirSync(folder)).toHaveLength(1);
  });

  test("whose rows name others that are not there is not sound", async () => {
    using dir = tempDir();
    const file = join(dir.path, "orphans.db");
    makeDatabase(file);
    const database = new DatabaseSync(file, { enableForeignKeyConstraints: false });
    database.exec("insert into child values (7), (8)");
    database.close();
    expect(await checkDatabase(file)).toEqual(["2 rows name others that are not there"]);
  });
});
