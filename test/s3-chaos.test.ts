/** A network and a server at their worst: what arrives is whole, what does not is reported, and the next run goes on. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { BackupError } from "../src/core/errors.ts";
import { type Manifest, manifestKey, writeManifest } from "../src/core/manifest.ts";
import { openArtifact, readCatalogue } from "../src/points/catalogue.ts";
import { writeIdentity } from "../src/points/identity.ts";
import { type CopyOutcome, replicate } from "../src/replicate/replicate.ts";
import { MemoryStore } from "../src/stores/memory.ts";
import { bytesSource, type Store } from "../src/stores/store.ts";
import { type ChaosProxy, chaosProxy, type Fault } from "./support/chaos-proxy.ts";
import { effort } from "./support/effort.ts";
import { noise } from "./support/noise.ts";
import { seededRandom } from "./support/random.ts";
import { tempDir } from "./support/repo.ts";
import { hasS3, type S3Server, s3Server, s3Store, s3Url, useCredentials } from "./support/s3-server.ts";

const identity = { format: 1, repository: "6f1a9c52-3b77-4c0e-9d5f-0a4f5b8c7e21", name: "test", created: "2026-01-01T00:00:00.000Z" };
const count = effort("HOLDFAST_CHAOS_POINTS", 100, 25);
/** Every stall costs a timeout. */
const patience = { connectMs: 500, idleMs: 250, attempts: 3 };

describe.skipIf(!hasS3("ceph-rgw", "S3 stores under bad conditions"))("a bucket behind a bad network", () => {
  let server: S3Server;
  let proxy: ChaosProxy;
  let bucket: string;
  const primary = new MemoryStore("primary");
  const manifests: Manifest[] = [];
  beforeAll(async () => {
    server = await s3Server();
    useCredentials(server.owner);
    proxy = await chaosProxy(server.endpoint);
    await writeIdentity(primary, identity);
    for (let index = 0; index < count; index += 1) manifests.push(await publish(primary, index));
  });
  afterAll(() => proxy[Symbol.asyncDispose]());
  beforeEach(async () => {
    bucket = await server.makeBucket();
    proxy.rule = () => undefined;
    proxy.exchanges.length = 0;
  });

  test(`${count} points arrive whole or are reported missing, never half`, async () => {
    using dir = tempDir();
    proxy.rule = byChance(1, ["cut", "lost", "half", "stall", "error", "busy", "up", "down"], 0.12);
    const direct = s3Store(s3Url(server.endpoint, bucket));
    const run = (): Promise<CopyOutcome> => {
      const copy = s3Store(s3Url(proxy.endpoint, bucket), { patience, traitsFile: join(dir.path, "traits.json") });
      const texts = { restoreSh: "#!/bin/sh\n", recoveryMd: "# Recovery\n" };
      const now = (): Date => new Date();
      return replicate({
        primary,
        identity,
        name: copy.name,
        url: copy.url,
        open: async () => copy,
        stateFolder: join(dir.path, "copies"),
        texts,
        now,
        random: () => 0,
        force: true,
      });
    };
    let runs = 0;
    for (let outcome: CopyOutcome | undefined; outcome?.status !== "ok"; ) {
      runs += 1;
      expect(runs, "runs until all was there").toBeLessThan(60);
      outcome = await run();
      if (outcome?.status === "failed") expect(outcome).toMatchObject({ message: expect.stringMatching(/\S/), hint: expect.stringMatching(/\S/) });
      await expectWholePoints(direct);
    }
    expect((await readCatalogue(direct)).points.map(({ id }) => id)).toEqual(manifests.map(({ id }) => id));
    const faults = new Set(proxy.exchanges.map(({ fault }) => fault));
    expect(faults.size).toBeGreaterThan(6);
  });

  test("what is read through it is as it was stored, or an error that names it", async () => {
    const url = s3Url(proxy.endpoint, bucket);
    const store = s3Store(url, { patience });
    const few = manifests.slice(0, 20);
    for (const manifest of few) await copy(primary, store, manifest);
    proxy.rule = byChance(3, ["cut", "half", "error", "busy", "down"], 0.3);
    let failed = 0;
    for (const manifest of few) {
      for (const artifact of manifest.artifacts) {
        try {
          const bytes = await buffer(await openArtifact(store, manifest, artifact));
          expect(createHash("sha256").update(bytes).digest("hex")).toBe(artifact.sha256);
        } catch (error) {
          failed += 1;
          expect(error).toBeInstanceOf(BackupError);
          expect((error as BackupError).message).toContain(artifact.name);
        }
      }
    }
    expect(failed).toBeLessThan(few.length);
  });

  test("one flipped bit of a large artifact is damage, and named", async () => {
    const store = s3Store(s3Url(proxy.endpoint, bucket), { patience });
    const bytes = noise(3 << 20, 5);
    const manifest = manifests[0] as Manifest;
    const name = `${manifest.id}.bundle`;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    await store.put(`${manifest.id.slice(0, 8)}/${name}`, bytesSource(bytes));
    proxy.rule = ({ method }) => (method === "GET" ? "down" : undefined);
    const artifact = { name, size: bytes.length, sha256, plainSize: bytes.length, plainSha256: sha256 };
    const reading = openArtifact(store, manifest, artifact).then(buffer);
    await expect(reading).rejects.toMatchObject({ code: "damaged", message: `${name} does not have the sha256 of its manifest` });
  });
});

function byChance(seed: number, faults: readonly Fault[], share: number): () => Fault | undefined {
  const random = seededRandom(seed);
  return () => (random() < share ? faults[Math.floor(random() * faults.length)] : undefined);
}

async function copy(from: Store, to: Store, manifest: Manifest): Promise<void> {
  const { copyPoint } = await import("../src/points/publish.ts");
  await copyPoint(from, to, manifest);
}

async function expectWholePoints(store: Store): Promise<void> {
  const { points, damaged } = await readCatalogue(store);
  expect(damaged.map(({ error }) => error.message)).toEqual([]);
  for (const manifest of points) for (const artifact of manifest.artifacts) await buffer(await openArtifact(store, manifest, artifact));
}

/** A point of two artifacts, as they are stored. */
async function publish(store: Store, index: number): Promise<Manifest> {
  const id = `20261121T${String(10 + Math.floor(index / 60)).padStart(2, "0")}${String(index % 60).padStart(2, "0")}00Z-${String(index).padStart(6, "0")}`;
  const artifacts = [];
  for (const [kind, size] of [
    ["bundle", 3000 + index],
    ["idx", 1500],
  ] as const) {
    const bytes = noise(size, index + size);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    artifacts.push({ name: `${id}.${kind}`, size, sha256, plainSize: size, plainSha256: sha256 });
    await store.put(`20261121/${id}.${kind}`, bytesSource(bytes));
  }
  const counts = { files: 0, bytes: 0, changed: 0, refs: 0, left: 0, problems: 0 };
  const [createdAt, repository] = ["2026-11-21T10:00:00.000Z", identity.repository];
  const ladder = { base: null, full: id, step: 0, level: 0, previous: null, previousSha256: null };
  const rest = { consistent: true, screened: false, expires: null, retention: "policy", signature: null };
  const manifest: Manifest = {
    format: 1,
    id,
    kind: "commit",
    createdAt,
    repository,
    machine: "test",
    ...ladder,
    tool: "test",
    artifacts,
    counts,
    ...rest,
  };
  await store.put(manifestKey(id), bytesSource(writeManifest(manifest)));
  return manifest;
}
