/** A point of a few bytes: enough for what copies files and reads manifests. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Manifest } from "../../src/core/manifest.ts";
import { publishPoint } from "../../src/points/publish.ts";
import type { CallOptions, Store } from "../../src/stores/store.ts";

export const testIdentity = { format: 1, repository: "6f1a9c52-3b77-4c0e-9d5f-0a4f5b8c7e21", name: "test", created: "2026-01-01T00:00:00.000Z" };

export interface SmallPoint {
  /** Its artifacts have the names of encrypted ones. */
  readonly isEncrypted?: boolean;
  readonly base?: string;
  /** Bytes of its tarball. */
  readonly size?: number;
}

export async function publishSmallPoint(
  store: Store,
  id: string,
  { isEncrypted = false, base, size }: SmallPoint = {},
  options: CallOptions = {},
): Promise<Manifest> {
  const spool = mkdtempSync(join(tmpdir(), "spool-"));
  const artifacts = ["bundle", "tar.zst", "contents.zst"].map((kind) => {
    const name = `${id}.${kind}${isEncrypted ? ".age" : ""}`;
    const bytes = kind === "tar.zst" && size !== undefined ? Buffer.alloc(size, id) : Buffer.from(`${kind} of ${id}`);
    writeFileSync(join(spool, name), bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { name, size: bytes.length, sha256, plainSize: bytes.length, plainSha256: sha256 };
  });
  const manifest: Manifest = {
    format: 1,
    id,
    kind: "commit",
    createdAt: `${id.slice(0, 4)}-${id.slice(4, 6)}-${id.slice(6, 8)}T${id.slice(9, 11)}:00:00.000Z`,
    repository: testIdentity.repository,
    machine: "test",
    base: base ?? null,
    full: base ?? id,
    step: base === undefined ? 0 : 1,
    level: base === undefined ? 0 : 1,
    previous: null,
    previousSha256: null,
    tool: "holdfast test",
    artifacts,
    counts: { files: 0, bytes: 0, changed: 0, refs: 0, left: 0, problems: 0 },
    consistent: true,
    screened: false,
    expires: null,
    retention: "policy",
    signature: null,
  };
  try {
    await publishPoint(store, manifest, spool, options);
  } finally {
    rmSync(spool, { recursive: true, force: true });
  }
  return manifest;
}
