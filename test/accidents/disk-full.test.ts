/**
 * A volume that is full at a random byte: of the store, of a copy, of the repository itself, of the place a restore goes to. The
 * error says so with its hint, no published point is lost, nothing half counts, and with room again the next run goes on.
 * HOLDFAST_FULL_DISKS sets how often.
 */
import { appendFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { dayOf } from "../../src/core/ids.ts";
import type { Manifest } from "../../src/core/manifest.ts";
import { readCatalogue } from "../../src/points/catalogue.ts";
import { readTrash } from "../../src/points/trash.ts";
import { FolderStore } from "../../src/stores/folder.ts";
import { countAccidents } from "../support/accidents.ts";
import type { CliResult } from "../support/cli.ts";
import { effort } from "../support/effort.ts";
import { noise } from "../support/noise.ts";
import { seededRandom } from "../support/random.ts";
import { tempDir } from "../support/repo.ts";
import { fillUp, hasSmallDisks, smallDisk } from "../support/small-disk.ts";
import { type Workspace, workspace } from "../support/workspace.ts";

const times = Math.ceil(effort("HOLDFAST_FULL_DISKS", 32, 16) / 4);
const timeout = 120_000 + times * 40_000;
const mounts = hasSmallDisks("volumes that are full");
const lastThree = "retention: {keep_last: 3, keep_within: 0, keep_daily: 0, keep_weekly: 0, keep_monthly: 0}\n";

/** What a full volume may do to a run: it says so and what to do, or needs no more room than there was. True when it said so. */
function expectToldOrDone({ code, stderr, stdout }: CliResult, when: string): boolean {
  if (code === 0) return false;
  const words = stderr + stdout;
  expect([1, 3], `${when}: ${words}`).toContain(code);
  expect(words, when).toMatch(/ENOSPC|no space left|out of diskspace|is full|(?:unable to|failed to|couldn't) write/i);
  expect(words, when).toMatch(/free some space/);
  expect(words, when).not.toMatch(/bug in holdfast/);
  return true;
}

describe.skipIf(!mounts)("a volume that is full at a random byte", () => {
  for (const isEncrypted of [false, true]) {
    test(`under the store, while points are made${isEncrypted ? " and encrypted" : ""}: ${times} times`, { timeout }, async () => {
      using keys = tempDir();
      process.env["HOLDFAST_CONFIG_DIR"] = keys.path;
      using work = await workspace({ init: ["--no-hooks", isEncrypted ? "--encrypt" : "--no-encrypt"] });
      appendFileSync(join(work.repo.path, "backup.yaml"), lastThree);
      using disk = smallDisk(work.store, "24m");
      const random = seededRandom(isEncrypted ? 2 : 1);
      const book = new Book(new FolderStore("local", work.store));
      let refused = 0;
      for (let number = 0; number < times; number += 1) {
        await change(work, number);
        const args = number % 4 === 3 ? ["backup", "--full"] : ["backup"];
        {
          using _ = fillUp(disk, ((number + random()) / times) ** 2 * 400_000);
          if (expectToldOrDone(await work.run(args), `backup ${number}`)) refused += 1;
          await book.look(`full, ${number}`);
          expect(temporary(work.store), `full, ${number}`).toEqual([]);
        }
        expect((await work.run(args)).stderr, `with room again, ${number}`).toBe("");
        await book.look(`with room again, ${number}`);
        if (number % 6 === 5) expect((await work.run(["prune", "--force"])).code).toBe(0);
        if (number % 6 === 5) rmSync(join(work.store, "trash"), { recursive: true, force: true });
        if (number % 6 === 5) book.forgetTrash();
      }
      expect(refused).toBeGreaterThan(times / 4);
      for (const { id } of await work.points()) await work.json(["restore", id, "--verify-only"]);
      delete process.env["HOLDFAST_CONFIG_DIR"];
      countAccidents({
        what: `full disks under a store${isEncrypted ? ", encrypted" : ""} (${refused} runs refused)`,
        accidents: times,
        points: (await work.points()).length,
      });
    });
  }

  test(`under a copy, a prune and a restore: ${times} times`, { timeout }, async () => {
    using work = await workspace();
    appendFileSync(join(work.repo.path, "backup.yaml"), lastThree);
    using copyDisk = smallDisk(join(work.path, "disk"), "24m");
    using disk = smallDisk(work.store, "24m");
    using target = smallDisk(join(work.path, "target"), "8m");
    await work.json(["store", "add", "disk", join(copyDisk.path, "store")]);
    const random = seededRandom(3);
    const [ours, theirs] = [new Book(new FolderStore("local", work.store)), new Book(new FolderStore("disk", join(copyDisk.path, "store")))];
    const refused = { syncs: 0, prunes: 0, restores: 0 };
    for (let number = 0; number < times; number += 1) {
      await change(work, number);
      await work.backup("--full");
      await ours.look(`made, ${number}`);
      {
        using _ = fillUp(copyDisk, ((number + random()) / times) * 250_000);
        if (expectToldOrDone(await work.run(["sync"]), `sync ${number}`)) refused.syncs += 1;
        await theirs.look(`sync ${number}`);
      }
      await work.json(["sync"]);
      await theirs.look(`synced ${number}`);
      {
        using _ = fillUp(disk, random() ** 3 * 60_000);
        if (expectToldOrDone(await work.run(["prune", "--force"]), `prune ${number}`)) refused.prunes += 1;
        await ours.look(`prune ${number}`);
      }
      expect((await work.run(["prune", "--force"])).code).toBe(0);
      await ours.look(`pruned ${number}`);
      {
        using _ = fillUp(target, ((number + random()) / times) * 300_000);
        if (expectToldOrDone(await work.run(["restore", "latest", "--to", join(target.path, "full")]), `restore ${number}`)) refused.restores += 1;
      }
      await work.json(["restore", "latest", "--to", join(target.path, "roomy")]);
      for (const name of ["full", "roomy"]) rmSync(join(target.path, name), { recursive: true, force: true });
      if (number % 8 !== 7) continue;
      for (const book of [ours, theirs]) {
        rmSync(join(book.store.url, "trash"), { recursive: true, force: true });
        book.forgetTrash();
      }
    }
    for (const [what, count] of Object.entries(refused)) expect(count, what).toBeGreaterThan(0);
    const told = Object.entries(refused).map(([what, count]) => `${count} ${what}`);
    countAccidents({
      what: `full disks under copies, prunes and restores (${told.join(", ")} refused)`,
      accidents: 3 * times,
      points: ours.count + theirs.count,
    });
  });

  test(`under the repository itself: ${times} times`, { timeout }, async () => {
    using work = await workspace();
    using disk = smallDisk(work.repo.path, "24m");
    const random = seededRandom(4);
    let refused = 0;
    const book = new Book(new FolderStore("local", work.store));
    for (let number = 0; number < times; number += 1) {
      await change(work, number);
      {
        using _ = fillUp(disk, ((number + random()) / times) ** 2 * 60_000);
        if (expectToldOrDone(await work.run(["backup"]), `backup ${number}`)) refused += 1;
        await book.look(`full, ${number}`);
      }
      rmSync(join(work.repo.path, "notes"), { recursive: true, force: true });
      expect((await work.run(["backup"])).stderr, `with room again, ${number}`).toBe("");
      await book.look(`with room again, ${number}`);
    }
    for (const { id } of await work.points()) await work.json(["restore", id, "--verify-only"]);
    expect(refused).toBeGreaterThan(0);
    countAccidents({ what: `full disks under the repository (${refused} runs refused)`, accidents: times, points: book.count });
  });
});

async function change(work: Workspace, number: number): Promise<void> {
  work.repo.write("a.bin", noise(60_000 + ((number * 7919) % 90_000), number));
  work.repo.write(`notes/${number % 5}.md`, `${number}\n`.repeat(100));
  if (number % 3 !== 0) return;
  work.repo.git("add", "--all", "notes");
  work.repo.git("commit", "--quiet", "--message", `number ${number}`);
}

/** Every point that was ever in a store: each look must find it there, whole, or whole in the trash. */
class Book {
  readonly store: FolderStore;
  readonly #seen = new Set<string>();
  #forgotten = 0;

  constructor(store: FolderStore) {
    this.store = store;
  }

  async look(when: string): Promise<void> {
    const { points, damaged } = await readCatalogue(this.store);
    expect(
      damaged.map(({ error }) => error.message),
      when,
    ).toEqual([]);
    const whole = new Set<string>();
    for (const point of points) if (await this.#hasAll(point, dayOf(point.id))) whole.add(point.id);
    expect(
      points.map(({ id }) => id).filter((id) => !whole.has(id)),
      when,
    ).toEqual([]);
    for (const { manifest, folder } of await readTrash(this.store)) if (await this.#hasAll(manifest, folder)) whole.add(manifest.id);
    expect(
      [...this.#seen].filter((id) => !whole.has(id)),
      when,
    ).toEqual([]);
    for (const id of whole) this.#seen.add(id);
  }

  get count(): number {
    return this.#seen.size + this.#forgotten;
  }

  /** What was in it was emptied by the test. */
  forgetTrash(): void {
    this.#forgotten += this.#seen.size;
    this.#seen.clear();
  }

  async #hasAll({ artifacts }: Manifest, folder: string): Promise<boolean> {
    const sizes = await Promise.all(artifacts.map(async ({ name }) => (await this.store.stat(`${folder}/${name}`))?.size));
    return artifacts.every(({ size }, at) => sizes[at] === size);
  }
}

function temporary(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => /(?:^|\/)\.holdfast-/.test(path));
}
