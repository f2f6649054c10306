/**
 * Encrypts the artifacts of a point, each once. Plain ones lie in a folder of the repository's own, never on the store's
 * volume, and no longer than it takes.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { readBack, writeEncrypted } from "../archive/encrypted-file.ts";
import type { Encryptor } from "../core/encryption.ts";
import { type Artifact, artifactName, parseArtifactName } from "../core/manifest.ts";

export interface Encryption {
  readonly encryptor: Encryptor;
  /** The folder in the repository's git directory that plain artifacts wait in. */
  readonly plainFolder: string;
}

const prefix = "plain-";

/** A new folder for plain artifacts. Those that killed runs left are removed first: the caller holds the lock. */
export async function plainSpool({ plainFolder }: Encryption): Promise<string> {
  await mkdir(plainFolder, { recursive: true });
  clearPlain(plainFolder);
  return mkdtempSync(join(plainFolder, prefix));
}

export function clearPlain(plainFolder: string): void {
  for (const name of readdirSync(plainFolder)) if (name.startsWith(prefix)) rmSync(join(plainFolder, name), { recursive: true, force: true });
}

/** Writes `NAME.age` into `spool` for each artifact in `plain`, side by side, and gives what stands there now. */
export async function encryptArtifacts(
  artifacts: readonly Artifact[],
  plain: string,
  spool: string,
  { encryptor }: Encryption,
  options: { readonly signal?: AbortSignal | undefined },
): Promise<Artifact[]> {
  const running = artifacts.map(async (artifact): Promise<Artifact> => {
    const parsed = parseArtifactName(artifact.name);
    if (parsed === undefined) throw new RangeError(`${artifact.name} is no artifact's name`);
    const name = artifactName({ ...parsed, isEncrypted: true });
    const bytes = readBack(join(plain, artifact.name), artifact);
    return { ...artifact, name, ...(await writeEncrypted(join(spool, name), bytes, encryptor, options)) };
  });
  // Nothing goes on writing after a failure: the caller removes the folders.
  await Promise.allSettled(running);
  return Promise.all(running);
}
