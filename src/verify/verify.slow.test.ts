/** Every kind of damage to every kind of file is found, named with the points that it hits, and mended from a copy. */
import { createHash, generateKeyPairSync } from "node:crypto";
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { faultyStore } from "../../test/support/faulty-store.ts";
import { forger, type Member, readTar, writeTar } from "../../test/support/hostile-store.ts";
import { noise } from "../../test/support/noise.ts";
import { type ProtectedRepository, protect } from "../../test/support/protected.ts";
import { gitRepo, type TestRepo } from "../../test/support/repo.ts";
import { KnownState } from "../capture/known.ts";
import type { PointId } from "../core/ids.ts";
import { type Artifact, findArtifact, keyOf, type Manifest, manifestKey, writeManifest } from "../core/manifest.ts";
import { judgeSignature, type Signer } from "../keys/signers.ts";
import { fingerprintOf, publicKeyOf, signText } from "../keys/ssh-signature.ts";
import { copyPoint } from "../points/publish.ts";
import { MemoryStore } from "../stores/memory.ts";
import { bytesSource, type Store } from "../stores/store.ts";
import { VerifiedRecord } from "./record.ts";
import { isMended, repair } from "./repair.ts";
import { survey } from "./survey.ts";
import { type VerifyRequest, verify } from "./verify.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const publicKey = publicKeyOf(privateKey);
const trusted = new Map<string, Signer>([[fingerprintOf(publicKey), { name: "test", key: publicKey }]]);

let repo: TestRepo;
let safe: ProtectedRepository;
let points: readonly Manifest[];
/** All keys of a whole store. */
const whole = new Map<string, Buffer>();

beforeAll(async () => {
  repo = gitRepo({ "a.txt": "one\n", "b.txt": "two\n" });
  safe = await protect(repo.path);
  const sign = (text: string): string => signText(text, privateKey);
  const database = new DatabaseSync(join(repo.path, "state.db"));
  database.exec("create table t (x); insert into t values (1), (2)");
  database.close();
  repo.write("untracked.bin", noise(200_000, 7));
  await safe.point({ sign });
  for (let step = 1; step <= 3; step += 1) {
    repo.write("a.txt", `${step}\n`);
    repo.commit();
    repo.write(`notes/${step}.md`, `note ${step}\n`);
    await safe.point({ sign });
  }
  points = await safe.points();
  for (const manifest of points) {
    const keys = [manifestKey(manifest.id), ...manifest.artifacts.map((artifact) => keyOf(manifest, artifact))];
    for (const key of keys) whole.set(key, await bytesOf(safe.store, key));
  }
});
afterAll(() => {
  safe[Symbol.dispose]();
  repo[Symbol.dispose]();
});

const copyOf = (name: string): { store: MemoryStore; files: Map<string, Buffer> } => {
  const files = new Map(whole);
  return { store: new MemoryStore(name, files), files };
};

function request(store: Store, others: readonly Store[], more: Partial<VerifyRequest> = {}): VerifyRequest {
  const scratch = join(safe.scratch, "scratch");
  mkdirSync(scratch, { recursive: true });
  return {
    store,
    others,
    chooses: undefined,
    level: "bytes",
    share: undefined,
    isOver: () => false,
    rereads: false,
    record: new VerifiedRecord(join(safe.scratch, "verified.ndjson"), store.name),
    remembered: [],
    removed: new Map(),
    judge: (manifest) => judgeSignature(manifest, trusted),
    hasBudget: false,
    scratch,
    now: () => new Date(),
    ...more,
  };
}

/** Verifies, mends, and verifies again. */
async function mend(asked: VerifyRequest) {
  const { result, survey, expected } = await verify(asked);
  const place = { store: asked.store, others: asked.others, survey, expected, judge: asked.judge, options: {} };
  const repaired = await repair({ ...place, findings: result.findings, scratch: asked.scratch });
  const still = result.findings.filter((one) => one.weight === "damage" && !isMended(one, repaired, survey));
  return { found: result.findings, repaired, still, after: (await verify(asked)).result };
}

const dependents = (id: PointId): PointId[] =>
  points
    .filter((point) => {
      for (let at: Manifest | undefined = point; at !== undefined; at = points.find(({ id: other }) => other === at?.base))
        if (at.id === id) return true;
      return false;
    })
    .map((point) => point.id);

test("a whole store has no finding at any level, and leaves nothing in the scratch folder", async () => {
  const { store } = copyOf("whole");
  for (const level of ["structure", "bytes", "content"] as const) {
    const asked = request(store, [], { level });
    const { result } = await verify(asked);
    expect(result).toMatchObject({ points: 4, findings: [], undecoded: null, signatures: { trusted: 4, bad: 0, unknown_signer: 0, unsigned: 0 } });
    expect(result.artifacts).toMatchObject(level === "structure" ? { asked: 0, read: 0 } : { asked: whole.size - 4, read: whole.size - 4, left: 0 });
    expect(readdirSync(asked.scratch)).toEqual([]);
  }
});

test("each signature is judged once", async () => {
  const judged: PointId[] = [];
  const judge: VerifyRequest["judge"] = (manifest) => {
    judged.push(manifest.id);
    return judgeSignature(manifest, trusted);
  };
  expect((await verify(request(copyOf("whole").store, [], { judge }))).result.signatures.trusted).toBe(4);
  expect(judged.sort()).toEqual(points.map(({ id }) => id));
});

const damages: readonly [string, (files: Map<string, Buffer>, key: string) => void][] = [
  ["flipped", (files, key) => void files.set(key, flip(files.get(key) as Buffer))],
  ["truncated", (files, key) => void files.set(key, (files.get(key) as Buffer).subarray(0, -3))],
  ["longer", (files, key) => void files.set(key, Buffer.concat([files.get(key) as Buffer, Buffer.from("x")]))],
  ["empty", (files, key) => void files.set(key, Buffer.alloc(0))],
  ["removed", (files, key) => void files.delete(key)],
  ["swapped", (files, key) => void files.set(key, whole.get(swapOf(key)) as Buffer)],
];

/** The same file of another point. */
function swapOf(key: string): string {
  const ending = key.slice(key.indexOf("."));
  return [...whole.keys()].find((other) => other !== key && other.endsWith(ending)) ?? [...whole.keys()].find((other) => other !== key) ?? "";
}

describe.each([0, 2])("point %i", (at) => {
  describe.each(["bundle", "idx", "tar.zst", "contents.zst"] as const)("%s", (kind) => {
    test.each(damages)("%s: named with the points and commits that it hits, and mended from a copy", async (_, damage) => {
      const manifest = points[at] as Manifest;
      const artifact = findArtifact(manifest, kind);
      if (artifact === undefined) return expect([kind, at]).toEqual(["idx", 2]);
      const key = keyOf(manifest, artifact);
      const { store, files } = copyOf("hurt");
      const bad = copyOf("bad");
      damage(files, key);
      bad.files.set(key, flip(whole.get(key) as Buffer));
      const { found, repaired, still, after } = await mend(request(store, [bad.store, copyOf("good").store]));
      const damaged = found.filter(({ weight }) => weight === "damage");
      expect(damaged).toMatchObject([{ kind: "artifact", point: manifest.id, key, hits: dependents(manifest.id), copies: ["good"] }]);
      expect(damaged[0]?.commits).toContainEqual({ name: "refs/heads/main", oid: repo.git("rev-parse", `main~${3 - at}`) });
      expect(repaired).toEqual({ mended: [{ key, point: manifest.id, by: "good" }], unmended: [] });
      expect(still).toEqual([]);
      expect(files).toEqual(whole);
      expect(after.findings).toEqual([]);
    });
  });

  test.each(damages)("the manifest %s: told by its successor too, and mended from a copy", async (_, damage) => {
    const manifest = points[at] as Manifest;
    const key = manifestKey(manifest.id);
    const { store, files } = copyOf("hurt");
    damage(files, key);
    const { found, repaired, still, after } = await mend(request(store, [copyOf("good").store]));
    expect(found.filter(({ point, copies }) => point === manifest.id && copies.includes("good")).length).toBeGreaterThan(0);
    expect(found.some(({ hits }) => hits.includes(points[at === 0 ? 3 : at]?.id ?? ""))).toBe(true);
    expect(repaired).toEqual({ mended: [{ key, point: manifest.id, by: "good" }], unmended: [] });
    expect(still).toEqual([]);
    expect(files).toEqual(whole);
    expect(after.findings).toEqual([]);
  });
});

describe("the history", () => {
  const remembered = () => [
    {
      id: points[3]?.id ?? "",
      sha256: createHash("sha256")
        .update(whole.get(manifestKey(points[3]?.id ?? "")) as Buffer)
        .digest("hex"),
    },
  ];
  const take = (files: Map<string, Buffer>, id: string): void => {
    for (const key of [...files.keys()]) if (key.includes(id)) files.delete(key);
  };

  test("a point that was taken out is named by its successor, and comes back from a copy", async () => {
    const { store, files } = copyOf("hurt");
    take(files, points[2]?.id ?? "");
    const { found, repaired, after } = await mend(request(store, [copyOf("good").store]));
    expect(found).toContainEqual(expect.objectContaining({ kind: "history", weight: "doubt", point: points[2]?.id, copies: ["good"] }));
    expect(repaired.unmended).toEqual([]);
    expect(files).toEqual(whole);
    expect(after.findings).toEqual([]);
  });

  test("a store that was put back to an older state is found by what the machine remembers, and brought forward", async () => {
    const { store, files } = copyOf("hurt");
    take(files, points[3]?.id ?? "");
    expect((await verify(request(store, []))).result.findings).toEqual([]);
    const { found, after } = await mend(request(store, [copyOf("good").store], { remembered: remembered() }));
    expect(found).toMatchObject([
      { kind: "history", weight: "damage", point: points[3]?.id, message: expect.stringContaining("put back to an older state") },
    ]);
    expect(files).toEqual(whole);
    expect(after.findings).toEqual([]);
  });

  test("a manifest that was changed and signed by nobody we know is found, of the newest point by memory", async () => {
    for (const at of [1, 3]) {
      const { store, files } = copyOf("hurt");
      const manifest = points[at] as Manifest;
      const key = manifestKey(manifest.id);
      const { privateKey: foreign } = generateKeyPairSync("ed25519");
      const forged = { ...manifest, retention: "permanent", signature: null };
      files.set(key, Buffer.from(writeManifest({ ...forged, signature: signText(writeManifest(forged), foreign) })));
      const { found, still, after } = await mend(request(store, [copyOf("good").store], { remembered: remembered() }));
      expect(still).toEqual([]);
      expect(found).toContainEqual(expect.objectContaining({ kind: "history", weight: "damage", point: manifest.id, key }));
      expect(found).toContainEqual(expect.objectContaining({ kind: "signature", weight: "doubt", point: manifest.id }));
      expect(files).toEqual(whole);
      expect(after.findings).toEqual([]);
    }
  });

  test("a hole that pruning left is none; in a store with a budget it is told and no more", async () => {
    const { store, files } = copyOf("small");
    for (const { id } of points.slice(0, 3)) take(files, id);
    const { result } = await verify(
      request(store, [], { removed: new Map(points.slice(0, 3).map(({ id, previous }) => [id, { previous, record: "trusted" as const }])) }),
    );
    expect(result.findings.filter(({ kind }) => kind === "history")).toEqual([]);
    const budget = await verify(request(store, [], { hasBudget: true }));
    expect(budget.result.findings.filter(({ kind }) => kind === "history")).toMatchObject([{ weight: "note" }]);
  });

  test("a signature that was taken off, or is not of this text, is told", async () => {
    const { store, files } = copyOf("hurt");
    const last = points[3] as Manifest;
    files.set(manifestKey(last.id), Buffer.from(writeManifest({ ...last, signature: null })));
    expect((await verify(request(store, []))).result.findings).toMatchObject([
      { kind: "signature", weight: "doubt", message: expect.stringContaining("signed earlier ones") },
    ]);
    files.set(manifestKey(last.id), Buffer.from(writeManifest({ ...last, kind: "daily" })));
    const { found, repaired } = await mend(request(store, [copyOf("good").store]));
    expect(found).toMatchObject([{ kind: "signature", weight: "damage", copies: ["good"] }]);
    expect(repaired.mended).toMatchObject([{ by: "good" }]);
    expect(files).toEqual(whole);
  });
});

describe("repair", () => {
  test("makes a lost index again from its bundle where no copy has it, and says of the rest that it cannot", async () => {
    const { store, files } = copyOf("alone");
    const full = points[0] as Manifest;
    const keys = full.artifacts.map((artifact) => keyOf(full, artifact));
    for (const key of keys) if (!key.endsWith(".bundle")) files.delete(key);
    // The index is made from the bundle, and the contents tell its kind.
    const contents = keys.find((key) => key.includes("contents")) ?? "";
    files.set(contents, whole.get(contents) as Buffer);
    const { repaired, still } = await mend(request(store, []));
    expect(repaired.mended).toMatchObject([{ key: expect.stringMatching(/\.idx$/), by: "made again from its bundle" }]);
    expect(repaired.unmended).toMatchObject([
      { key: expect.stringMatching(/\.tar\.zst$/), reason: expect.stringContaining("no other store holds it") },
    ]);
    expect(still).toHaveLength(1);
    expect(files.get(keys.find((key) => key.endsWith(".idx")) ?? "")).toEqual(whole.get(keys.find((key) => key.endsWith(".idx")) ?? ""));
  });

  test("a failure at any call leaves every file as it was, or whole; the next run ends it", async () => {
    const manifest = points[1] as Manifest;
    const hurt = (): Map<string, Buffer> => {
      const { files } = copyOf("hurt");
      const [first, ...rest] = manifest.artifacts.map((artifact) => keyOf(manifest, artifact));
      files.set(first ?? "", flip(whole.get(first ?? "") as Buffer));
      files.delete(rest[0] ?? "");
      files.delete(manifestKey(points[2]?.id ?? ""));
      return files;
    };
    const before = hurt();
    const count = faultyStore(new MemoryStore("hurt", hurt()));
    await mend(request(count, [copyOf("good").store], { level: "bytes" }));
    const writes = count.calls.flatMap(({ method }, index) => (["put", "replace", "flush", "delete"].includes(method) ? [index + 1] : []));
    expect(count.calls.some(({ method }) => method === "delete")).toBe(false);
    expect(writes.length).toBeGreaterThanOrEqual(4);
    for (const nth of writes) {
      for (const does of ["fail", "after", "cut", "flip", "twice"] as const) {
        const files = hurt();
        await mend(request(faultyStore(new MemoryStore("hurt", files), [{ nth, does }]), [copyOf("good").store])).catch(() => undefined);
        for (const [key, bytes] of files)
          expect(bytes.equals(whole.get(key) as Buffer) || bytes.equals(before.get(key) as Buffer), `${nth} ${does} ${key}`).toBe(true);
        await mend(request(new MemoryStore("hurt", files), [copyOf("good").store]));
        expect(files).toEqual(whole);
      }
    }
  });

  test("a lost point comes back from copies of which none is whole, each file from one that has it; what none has is said", async () => {
    const manifest = points[3] as Manifest;
    const keys = manifest.artifacts.map((artifact) => keyOf(manifest, artifact));
    const { store, files } = copyOf("hurt");
    for (const key of [manifestKey(manifest.id), ...keys]) files.delete(key);
    const [first, second] = [copyOf("first"), copyOf("second")];
    first.files.set(keys[0] ?? "", flip(whole.get(keys[0] ?? "") as Buffer));
    second.files.delete(keys[1] ?? "");
    const remembered = [
      {
        id: manifest.id,
        sha256: createHash("sha256")
          .update(whole.get(manifestKey(manifest.id)) as Buffer)
          .digest("hex"),
      },
    ];
    const third = new MemoryStore("third", new Map(files));
    const { repaired: alone } = await mend(request(third, [first.store], { remembered }));
    expect(alone).toMatchObject({ mended: [], unmended: [{ reason: expect.stringContaining("no other store holds it") }] });
    const { repaired, after } = await mend(request(store, [first.store, second.store], { remembered }));
    expect(repaired).toMatchObject({ mended: [{ point: manifest.id, by: "first" }], unmended: [] });
    expect(files).toEqual(whole);
    expect(after.findings).toEqual([]);
  });

  test("takes nothing from a copy that goes bad between the look and the taking", async () => {
    const { store, files } = copyOf("hurt");
    const manifest = points[0] as Manifest;
    const key = keyOf(manifest, manifest.artifacts[0] as Manifest["artifacts"][number]);
    files.delete(key);
    const gets = faultyStore(copyOf("turning").store);
    await mend(request(store, [gets]));
    const last = gets.calls.filter(({ method }) => method === "get").length;
    files.delete(key);
    const { repaired } = await mend(request(store, [faultyStore(copyOf("turning").store, [{ method: "get", nth: last, does: "flip" }])]));
    expect(repaired.unmended).toMatchObject([{ key }]);
    expect(files.has(key)).toBe(false);
  });
});

describe("what is inside", () => {
  const replace = (files: Map<string, Buffer>, at: number, kind: "tar.zst" | "contents.zst" | "bundle" | "idx", bytes: Buffer): void => {
    // As a bug of ours would have written it: the sums are right.
    const manifest = points[at] as Manifest;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const artifacts = manifest.artifacts.map((artifact) =>
      artifact.name.endsWith(kind)
        ? { ...artifact, size: bytes.length, sha256, ...(kind.endsWith("zst") ? {} : { plainSize: bytes.length, plainSha256: sha256 }) }
        : artifact,
    );
    const unsigned = { ...manifest, artifacts, signature: null };
    files.set(manifestKey(manifest.id), Buffer.from(writeManifest({ ...unsigned, signature: signText(writeManifest(unsigned), privateKey) })));
    files.set(keyOf(manifest, manifest.artifacts.find(({ name }) => name.endsWith(kind)) as Manifest["artifacts"][number]), bytes);
  };

  test.each<["tar.zst" | "contents.zst" | "bundle" | "idx"]>([["tar.zst"], ["contents.zst"], ["bundle"], ["idx"]])(
    "%s that was written wrong is found by --decode alone",
    async (kind) => {
      const { store, files } = copyOf("odd");
      const from = points[kind === "idx" ? 0 : 3] as Manifest;
      const bytes = whole.get(keyOf(from, findArtifact(from, kind) as Manifest["artifacts"][number])) as Buffer;
      replace(files, kind === "idx" ? 0 : 3, kind, kind === "idx" ? flip(bytes) : flip(bytes, 0.6));
      const damaged = async (level: "bytes" | "content") =>
        (await verify(request(store, [], { level }))).result.findings.filter(({ weight, kind: what }) => weight === "damage" && what === "content");
      expect(await damaged("bytes")).toEqual([]);
      expect((await damaged("content")).length).toBeGreaterThan(0);
    },
  );

  test("a file that the inventory has and the tarball has not is named, be it whole, a patch or a link", async () => {
    const made = gitRepo({ "a.txt": "one\n" });
    const own = await protect(made.path);
    try {
      const large = noise(200_000, 7);
      made.write("large.bin", large);
      made.write("small.md", "small\n");
      linkSync(join(made.path, "small.md"), join(made.path, "twin.md"));
      symlinkSync("small.md", join(made.path, "pointer.md"));
      await own.point();
      large.fill(7, 1000, 1100);
      made.write("large.bin", large);
      await own.point();
      const found = async (): Promise<string[]> => {
        const { result } = await verify(request(own.store, [], { level: "content" }));
        return result.findings.filter(({ kind }) => kind === "content").map(({ weight, message }) => `${weight}: ${message}`);
      };
      expect(await found()).toEqual([]);
      const store = forger(own.store.url, Math.random);
      const [full = "", step = ""] = store.ids;
      const without = async (id: string, isLost: (member: Member) => boolean): Promise<string[]> => {
        const plain = (await store.artifact(id, "tar.zst")) as Buffer;
        const members = readTar(plain);
        expect(members.some(isLost)).toBe(true);
        store.writeArtifact(id, "tar.zst", writeTar(members.filter((member) => !isLost(member))));
        const findings = await found();
        store.writeArtifact(id, "tar.zst", plain);
        return findings;
      };
      const lost = (id: string, entry: string): string => `damage: ${entry} is not in ${id}.tar.zst, where the inventory says that it is`;
      for (const entry of ["untracked/large.bin", "untracked/small.md", "untracked/twin.md", "untracked/pointer.md"])
        expect(await without(full, ({ path }) => path === entry)).toEqual([lost(full, entry)]);
      for (const part of ["path", "steps", "data"])
        expect(await without(step, ({ path }) => path.startsWith("patches/") && path.endsWith(part))).toEqual([lost(step, "untracked/large.bin")]);
      const manifest = store.manifest(full);
      const artifacts = (manifest["artifacts"] as Manifest["artifacts"]).filter(({ name }) => !name.endsWith("tar.zst"));
      store.writeManifest(full, { ...manifest, artifacts });
      expect(await found()).toEqual([expect.stringMatching(/^damage: .*\.contents\.zst names \d+ stored files, and the point has no tarball$/)]);
    } finally {
      own[Symbol.dispose]();
      made[Symbol.dispose]();
    }
  });

  test.each([
    ["that no string holds", 150, "unpacks to"],
    ["of one line without an end", 16, "is not a record"],
  ])("contents %s are damage of their point, and the rest is looked into", async (_, times, words) => {
    const { store, files } = copyOf("bomb");
    const manifest = points[3] as Manifest;
    const contents = findArtifact(manifest, "contents.zst") as Manifest["artifacts"][number];
    // Few bytes where they are stored: one frame of zeros, again and again.
    const zeros = Buffer.alloc(4 << 20);
    const stored = Buffer.concat(Array.from({ length: times }, () => zstdCompressSync(zeros)));
    const plain = createHash("sha256");
    for (let at = 0; at < times; at += 1) plain.update(zeros);
    const facts = {
      size: stored.length,
      sha256: createHash("sha256").update(stored).digest("hex"),
      plainSize: zeros.length * times,
      plainSha256: plain.digest("hex"),
    };
    const artifacts = manifest.artifacts.map((artifact) => (artifact === contents ? { ...artifact, ...facts } : artifact));
    files.set(manifestKey(manifest.id), Buffer.from(writeManifest({ ...manifest, artifacts, signature: null })));
    files.set(keyOf(manifest, contents), stored);
    const { result } = await verify(request(store, [], { level: "content" }));
    expect(result.artifacts).toMatchObject({ read: whole.size - 4, left: 0 });
    expect(result.findings.filter(({ weight }) => weight === "damage")).toMatchObject([
      { kind: "content", point: manifest.id, key: keyOf(manifest, contents), message: expect.stringContaining(words) },
    ]);
  });

  test("a history whose objects were missing already is no damage, nor in the points that build on it", async () => {
    const made = gitRepo({ "a.txt": "one\n" });
    const blob = made.git("rev-parse", "HEAD:a.txt");
    made.write("a.txt", "two\n");
    made.commit();
    rmSync(join(made.path, ".git/objects", blob.slice(0, 2), blob.slice(2)));
    const own = await protect(made.path);
    try {
      await own.point();
      made.commit("an incremental that misses nothing itself");
      expect((await own.point()).problems).toEqual([]);
      const { result } = await verify(request(own.store, [], { level: "content" }));
      expect(result.findings.filter(({ weight }) => weight === "damage")).toEqual([]);
    } finally {
      own[Symbol.dispose]();
      made[Symbol.dispose]();
    }
  });

  test.each<["tar.zst" | "bundle", () => Buffer]>([
    ["tar.zst", () => flip(whole.get(keyOf(points[3] as Manifest, findArtifact(points[3] as Manifest, "tar.zst") as Artifact)) as Buffer, 0.6)],
    // A good pack that is not this point's: no file is damaged, and the history is not whole.
    ["bundle", () => whole.get(keyOf(points[1] as Manifest, findArtifact(points[1] as Manifest, "bundle") as Artifact)) as Buffer],
  ])("damage inside a %s stands for runs that only read", async (kind, bytes) => {
    const { store, files } = copyOf("odd");
    replace(files, 3, kind, bytes());
    const manifest = (await survey(store)).points.get(points[3]?.id ?? "")?.manifest as Manifest;
    const artifact = findArtifact(manifest, kind) as Artifact;
    const file = join(safe.scratch, `inside-${kind}.ndjson`);
    const damage = async (level: "bytes" | "content" | undefined) => {
      const record = new VerifiedRecord(file, "odd");
      const { result } = await verify(request(store, [], { level: level ?? "structure", rereads: level === undefined, record }));
      record.finish(new Set(files.keys()));
      return [result.findings.length, result.artifacts.read > 0, record.damageOf(keyOf(manifest, artifact), artifact.sha256)];
    };
    expect(await damage("content")).toEqual([1, true, "inside"]);
    expect(await damage("bytes")).toEqual([0, true, "inside"]);
    expect(await damage(undefined)).toEqual([0, true, "inside"]);
  });

  test("a database that is torn is told, with its name", async () => {
    const torn = gitRepo({ "a.txt": "one\n" });
    const own = await protect(torn.path);
    try {
      const database = new DatabaseSync(join(torn.path, "torn.db"));
      database.exec("create table t (x); create index i on t (x); begin");
      const insert = database.prepare("insert into t values (?)");
      for (let row = 0; row < 2000; row += 1) insert.run(`row ${row}`);
      database.exec("commit");
      database.close();
      const bytes = readFileSync(join(torn.path, "torn.db"));
      bytes.fill(0x5a, 8192, 12_288);
      writeFileSync(join(torn.path, "torn.db"), bytes);
      await own.point();
      const { result } = await verify(request(own.store, [], { level: "content" }));
      expect(result.findings).toMatchObject([
        { kind: "database", weight: "doubt", message: expect.stringContaining("untracked/torn.db is not sound") },
      ]);
    } finally {
      own[Symbol.dispose]();
      torn[Symbol.dispose]();
    }
  });

  test("what is encrypted is read without a key, and not being looked into is said", async () => {
    const { store, files } = copyOf("sealed");
    const full = points[0] as Manifest;
    for (const key of [...files.keys()]) if (!key.includes(full.id)) files.delete(key);
    const artifacts = full.artifacts.map((artifact) => ({ ...artifact, name: `${artifact.name}.age` }));
    for (const artifact of full.artifacts) {
      const key = keyOf(full, artifact);
      files.set(`${key}.age`, files.get(key) as Buffer);
      files.delete(key);
    }
    files.set(manifestKey(full.id), Buffer.from(writeManifest({ ...full, artifacts, signature: null })));
    const { result } = await verify(request(store, [], { level: "content" }));
    expect(result.findings).toEqual([]);
    expect(result.undecoded).toMatchObject({ artifacts: artifacts.length, reason: expect.stringContaining("no key") });
    const key = `${keyOf(full, full.artifacts[1] as Manifest["artifacts"][number])}.age`;
    const good = new MemoryStore("good", new Map(files));
    files.set(key, flip(files.get(key) as Buffer));
    const { found, repaired, still } = await mend(request(store, [good], { level: "content" }));
    expect(found).toMatchObject([{ kind: "artifact", key, copies: ["good"] }]);
    expect(repaired.mended).toMatchObject([{ key, by: "good" }]);
    expect(still).toEqual([]);
  });
});

describe("in parts", () => {
  test("the shares of t runs read everything once", async () => {
    const { store } = copyOf("shared");
    const record = new VerifiedRecord(join(safe.scratch, "shares.ndjson"), "shared");
    let read = 0;
    for (let number = 1; number <= 3; number += 1) {
      const { result } = await verify(request(store, [], { record, share: { number, of: 3 } }));
      read += result.artifacts.read;
    }
    expect(read).toBe(whole.size - 4);
    const artifacts = points.flatMap((manifest) =>
      manifest.artifacts.map((artifact) => ({ key: keyOf(manifest, artifact), sha256: artifact.sha256 })),
    );
    expect(artifacts.filter(({ key, sha256 }) => record.lastOf(key, sha256) === undefined)).toEqual([]);
  });

  test("a run whose time is up goes on with what was read longest ago", async () => {
    const { store } = copyOf("slow");
    const file = join(safe.scratch, "slow.ndjson");
    const total = whole.size - 4;
    let clock = Date.UTC(2026, 0, 1);
    const tick = (): Date => {
      clock += 1000;
      return new Date(clock);
    };
    const run = async (pieces: number): Promise<{ read: number; left: number }> => {
      let begun = 0;
      const isOver = (): boolean => {
        begun += 1;
        return begun > pieces;
      };
      const record = new VerifiedRecord(file, "slow");
      const calls = faultyStore(store);
      const { result } = await verify(request(calls, [], { record, now: tick, isOver }));
      record.finish(new Set(whole.keys()));
      return result.artifacts;
    };
    expect(await run(5)).toMatchObject({ read: 5, left: total - 5 });
    expect(await run(5)).toMatchObject({ read: 5 });
    await run(total - 10);
    const record = new VerifiedRecord(file, "slow");
    const times = points.flatMap((manifest) => manifest.artifacts.map((artifact) => record.lastOf(keyOf(manifest, artifact), artifact.sha256)));
    expect(times.filter((time) => time === undefined)).toEqual([]);
    expect(new Set(times).size).toBe(total);
    // Of a file that was changed nothing is remembered.
    expect(record.lastOf(keyOf(points[0] as Manifest, (points[0] as Manifest).artifacts[0] as Manifest["artifacts"][number]), "0")).toBeUndefined();
  });
});

test("the machine's memory names the newest point and its sum", () => {
  const known = new KnownState(safe.stateFolder).load();
  expect(known).toMatchObject({
    id: points[3]?.id,
    manifestSha256: createHash("sha256")
      .update(whole.get(manifestKey(points[3]?.id ?? "")) as Buffer)
      .digest("hex"),
  });
});

test("a folder is verified and mended as any store is", async () => {
  const copy = new MemoryStore("copy");
  for (const manifest of points) await copyPoint(safe.store, copy, manifest);
  const manifest = points[1] as Manifest;
  const key = keyOf(manifest, manifest.artifacts[0] as Manifest["artifacts"][number]);
  await safe.store.replace(key, bytesSource("something else"));
  const { still, after } = await mend(request(safe.store, [copy]));
  expect(still).toEqual([]);
  expect(after.findings).toEqual([]);
  expect(await bytesOf(safe.store, key)).toEqual(whole.get(key));
});

function flip(bytes: Buffer, where = 0.5): Buffer {
  const copy = Buffer.from(bytes);
  const at = Math.floor(copy.length * where);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

async function bytesOf(store: Store, key: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await store.get(key)) ?? []) chunks.push(chunk);
  return Buffer.concat(chunks);
}
