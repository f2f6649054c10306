import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runWithFileLimit } from "../../test/support/file-limit.ts";
import { tempDir } from "../../test/support/repo.ts";
import { addEvidence, type DrillEvidence, readEvidence } from "./evidence.ts";

const evidence: DrillEvidence = {
  at: "2026-11-21T14:30:05.678Z",
  store: "usb",
  isOffsite: false,
  isProven: true,
  points: [],
  recoveryMs: 1,
  pointAgeMs: 2,
  error: null,
};

test.skipIf(process.platform === "win32")("evidence of which the volume takes a part is an error, and swallows none that comes later", () => {
  using dir = tempDir();
  const file = join(dir.path, "drills.ndjson");
  const module = JSON.stringify(new URL("./evidence.ts", import.meta.url).href);
  const long = JSON.stringify({ ...evidence, error: "x".repeat(100_000) });
  addEvidence(file, evidence);
  expect(runWithFileLimit(`import { addEvidence } from ${module}; addEvidence(${JSON.stringify(file)}, ${long});`)).toContain("EFBIG");
  addEvidence(file, evidence);
  expect(readEvidence(file)).toEqual([evidence, evidence]);
});

test("evidence of an older version, which did not tell whether git had checked, is read", () => {
  using dir = tempDir();
  const file = join(dir.path, "drills.ndjson");
  const at = "2026-11-21T12:00:00.000Z";
  const point = { id: "20261121T110000Z-000001", role: "latest", createdAt: at, restoreMs: 1, files: 1, refs: 1, bytes: 1, databases: 0 };
  const points = [{ ...point, check: null, findings: [], problems: 0 }];
  const evidence = { at, store: "local", isOffsite: false, isProven: true, points, recoveryMs: 1, pointAgeMs: 1, error: null };
  writeFileSync(file, `${JSON.stringify(evidence)}\n`);
  expect(readEvidence(file)).toMatchObject([{ isProven: true, points: [{ fsck: true }] }]);
});
