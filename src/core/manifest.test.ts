import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newPointId, type PointId } from "./ids.ts";
import {
  artifactKey,
  artifactKinds,
  artifactName,
  findArtifact,
  formatVersion,
  isEncrypted,
  type Manifest,
  manifestKey,
  parseArtifactName,
  parseManifest,
  pointKinds,
  storedSize,
  writeManifest,
} from "./manifest.ts";

const id = "20261121T143005Z-a1b2c3";
const sum = "0123456789abcdef".repeat(4);

const sample: Manifest = {
  format: 1,
  id,
  kind: "commit",
  createdAt: "2026-11-21T14:30:05.678Z",
  repository: "6b0f3c9a-5f0e-4c1e-9d2a-0a4f3a1b2c3d",
  machine: "desk",
  base: null,
  full: id,
  step: 0,
  level: 0,
  previous: null,
  previousSha256: null,
  tool: "holdfast 0.1.0",
  artifacts: [{ name: `${id}.bundle`, size: 12, sha256: sum, plainSize: 12, plainSha256: sum }],
  counts: { files: 3, bytes: 4, changed: 3, refs: 1, left: 0, problems: 0 },
  consistent: true,
  screened: false,
  expires: null,
  retention: "gfs",
  signature: null,
};

const moment = fc.date({ min: new Date("1970-01-01"), max: new Date("9999-12-30"), noInvalidDate: true });
const pointId = fc.tuple(moment, fc.integer({ min: 0, max: 0xffffff })).map(([at, random]) => newPointId(at, random));
const sha256 = fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 64, maxLength: 64 });
const size = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const text = (maxLength: number) => fc.string({ unit: "grapheme", maxLength: Math.floor(maxLength / 8) });

const manifests: fc.Arbitrary<Manifest> = pointId.chain((own) =>
  fc.record({
    format: fc.constant(formatVersion),
    id: fc.constant(own),
    kind: fc.constantFrom(...pointKinds),
    createdAt: moment.map((at) => at.toISOString()),
    repository: fc.uuid(),
    machine: text(255),
    base: fc.option(pointId),
    full: pointId,
    step: fc.nat(),
    level: fc.nat(63),
    previous: fc.option(pointId),
    previousSha256: fc.option(sha256),
    tool: text(64),
    artifacts: fc
      .subarray([...artifactKinds])
      .chain((kinds) =>
        fc.tuple(...kinds.map((kind) => fc.record({ name: fc.constant(`${own}.${kind}`), size, sha256, plainSize: size, plainSha256: sha256 }))),
      ),
    counts: fc.record({ files: size, bytes: size, changed: size, refs: size, left: size, problems: size }),
    consistent: fc.boolean(),
    screened: fc.boolean(),
    expires: fc.option(moment.map((at) => at.toISOString())),
    retention: text(64),
    signature: fc.option(text(4096)),
  }),
);

describe("a manifest", () => {
  test("property: is what was written, when it is read", () => {
    fc.assert(
      fc.property(manifests, (manifest) => {
        expect(parseManifest(writeManifest(manifest), manifestKey(manifest.id))).toEqual(manifest);
      }),
    );
  });

  test("property: has one text, whatever the order its facts were put together in", () => {
    fc.assert(
      fc.property(manifests, (manifest) => {
        const written = writeManifest(manifest);
        expect(writeManifest(reversed(manifest) as Manifest)).toBe(written);
        expect(writeManifest(parseManifest(written, manifestKey(manifest.id)))).toBe(written);
      }),
    );
  });

  test("stands one field a line, each artifact on its own, for a plain shell", () => {
    const lines = writeManifest(sample).split("\n");
    expect(lines).toContain('  "base": null,');
    expect(lines).toContain(`    {"name":"${id}.bundle","size":12,"sha256":"${sum}","plainSize":12,"plainSha256":"${sum}"}`);
    expect(lines.slice(0, 3)).toEqual(["{", '  "format": 1,', `  "id": "${id}",`]);
    expect(writeManifest({ ...sample, artifacts: [] })).toContain('  "artifacts": [],\n');
  });

  test("lies under its day", () => {
    expect(manifestKey(id)).toBe("20261121/20261121T143005Z-a1b2c3.json");
    expect(artifactKey(id, "tar.zst")).toBe("20261121/20261121T143005Z-a1b2c3.tar.zst");
  });

  test("tells its artifacts and their bytes", () => {
    expect(findArtifact(sample, "bundle")?.size).toBe(12);
    const encrypted = { ...sample, artifacts: sample.artifacts.map((artifact) => ({ ...artifact, name: `${artifact.name}.age` })) };
    expect(findArtifact(encrypted, "bundle")?.name).toBe(`${id}.bundle.age`);
    expect([isEncrypted(sample), isEncrypted(encrypted)]).toEqual([false, true]);
    expect(findArtifact(sample, "idx")).toBeUndefined();
    expect(storedSize(sample)).toBe(12);
  });
});

describe("parseManifest", () => {
  test("refuses a newer format with a word of its own, whatever else it holds", () => {
    expect(() => parseManifest('{"format": 2, "unheard": "of"}', "k")).toThrow(expect.objectContaining({ code: "format_newer" }));
    expect(() => parseManifest('{"format": 1.5}', "k")).toThrow(expect.objectContaining({ code: "format_newer" }));
  });

  test.each([0, -1, "1", "2", null, [2]])("takes format %j for damage", (format) => {
    expect(() => parseManifest(JSON.stringify({ ...sample, format }), manifestKey(id))).toThrow(expect.objectContaining({ code: "damaged" }));
  });

  test.each(["", "{", "null", "[]", "7", '"text"', "{}", "\u0000", "<html>404</html>", '{"format":1}'])("takes %j for damage", (junk) => {
    expect(() => parseManifest(junk, manifestKey(id))).toThrow(expect.objectContaining({ code: "damaged" }));
  });

  test.each<[string, Record<string, unknown>]>([
    ["an id with a way out", { id: "../../etc/passwd" }],
    ["no id", { id: undefined }],
    ["a base that is no id", { base: "latest" }],
    ["a kind that is none", { kind: "hourly" }],
    ["a time without its milliseconds", { createdAt: "2026-11-21T14:30:05Z" }],
    ["a time of another zone", { createdAt: "2026-11-21T14:30:05.678+02:00" }],
    ["a day that is none", { createdAt: "2026-02-30T14:30:05.678Z" }],
    ["a step below zero", { step: -1 }],
    ["a step between", { step: 0.5 }],
    ["a size that no number holds", { artifacts: [{ ...sample.artifacts[0], size: 2 ** 60 }] }],
    ["a size below zero", { artifacts: [{ ...sample.artifacts[0], plainSize: -1 }] }],
    ["a sum of another length", { artifacts: [{ ...sample.artifacts[0], sha256: "ab" }] }],
    ["a sum in capitals", { artifacts: [{ ...sample.artifacts[0], sha256: sum.toUpperCase() }] }],
    ["seventeen artifacts", { artifacts: Array.from({ length: 17 }, () => sample.artifacts[0]) }],
    ["an artifact of another point", { artifacts: [{ ...sample.artifacts[0], name: "20261121T143005Z-ffffff.bundle" }] }],
    ["an artifact of no kind", { artifacts: [{ ...sample.artifacts[0], name: `${id}.sh` }] }],
    ["an artifact with a way out", { artifacts: [{ ...sample.artifacts[0], name: `../${id}.bundle` }] }],
    ["an artifact with more in it", { artifacts: [{ ...sample.artifacts[0], url: "http://x" }] }],
    ["a field more", { extra: 1 }],
    ["a machine of a megabyte", { machine: "m".repeat(1 << 20) }],
  ])("refuses %s", (_, change) => {
    expect(() => parseManifest(JSON.stringify({ ...sample, ...change }), manifestKey(id))).toThrow(expect.objectContaining({ code: "damaged" }));
  });

  test.each(["__proto__", "constructor", "toString", "hasOwnProperty"])("refuses a field named %s", (name) => {
    const written = writeManifest(sample).replace("{\n", `{\n  "${name}": {"format": 1, "polluted": true},\n`);
    expect(() => parseManifest(written, manifestKey(id))).toThrow(expect.objectContaining({ code: "damaged" }));
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test("does not take a field from a prototype", () => {
    const { kind: _, ...rest } = sample;
    const written = JSON.stringify(rest).replace("{", '{"__proto__": {"kind": "commit"},');
    expect(() => parseManifest(written, manifestKey(id))).toThrow(expect.objectContaining({ code: "damaged" }));
  });

  test("refuses a manifest under another point's key", () => {
    const other: PointId = "20261121T143005Z-000000";
    expect(() => parseManifest(writeManifest(sample), manifestKey(other))).toThrow(/says that it is 20261121T143005Z-a1b2c3/);
  });

  test("lists every problem at once", () => {
    expect(() => parseManifest(JSON.stringify({ ...sample, step: -1, kind: "x" }), manifestKey(id))).toThrow(/kind[\s\S]*step|step[\s\S]*kind/);
  });
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, item]) => [key, reversed(item)]),
  );
}

test("an artifact's name says its point, its kind, whether it is encrypted, and how often again", () => {
  const id = "20261121T143005Z-a1b2c3";
  for (const kind of artifactKinds)
    for (const isEncrypted of [false, true])
      for (const revision of [0, 1, 12]) {
        const name = { id, kind, isEncrypted, revision };
        expect(parseArtifactName(artifactName(name))).toEqual(name);
      }
  expect(artifactName({ id, kind: "tar.zst", isEncrypted: true, revision: 2 })).toBe(`${id}.r2.tar.zst.age`);
  for (const other of [
    `${id}.json`,
    `${id}.bundle.age.age`,
    `${id}.r0.bundle`,
    `${id}.r1`,
    `x.bundle`,
    `${id}.bundle.part001`,
    `../${id}.bundle`,
    "",
  ])
    expect(parseArtifactName(other)).toBeUndefined();
});
