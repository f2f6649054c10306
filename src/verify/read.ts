/** Reads artifacts of a store and compares their sums: what is not as its manifest says is named. */
import { createHash } from "node:crypto";
import { BackupError, isOfOneFile } from "../core/errors.ts";
import { type Artifact, keyOf, type Manifest } from "../core/manifest.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { type Fault, fault } from "./finding.ts";

/** One file of a store that is to be read. */
export interface Piece {
  readonly manifest: Manifest;
  readonly artifact: Artifact;
  readonly key: string;
}

export function pieceOf(manifest: Manifest, artifact: Artifact): Piece {
  return { manifest, artifact, key: keyOf(manifest, artifact) };
}

/** Undefined where every byte is as the manifest says. Throws what stands between us and the store as a whole. */
export async function checkPiece(store: Store, { manifest, artifact, key }: Piece, options: CallOptions = {}): Promise<Fault | undefined> {
  const damaged = (what: string): Fault => fault("artifact", "damage", manifest.id, key, `${artifact.name} ${what}`);
  try {
    const stream = await store.get(key, options);
    if (stream === undefined) return damaged("is missing");
    const sum = createHash("sha256");
    let size = 0;
    for await (const chunk of stream) {
      sum.update(chunk);
      size += chunk.length;
    }
    if (size !== artifact.size) return damaged(`has ${size} bytes, its manifest says ${artifact.size}`);
    return sum.digest("hex") === artifact.sha256 ? undefined : damaged("has other bytes than were written");
  } catch (error) {
    // A blob that a branch's host has lost, say: the next file may be well.
    const isOfThisFile = isOfOneFile(error) || (error instanceof BackupError && error.code === "store_failed");
    if (!isOfThisFile) throw error;
    return damaged(`cannot be read: ${error.message}`);
  }
}

/** True when it has the bytes that the manifest names. A store that does not answer has not. */
export async function holdsPiece(store: Store, piece: Piece, options: CallOptions = {}): Promise<boolean> {
  try {
    if ((await store.stat(piece.key, options))?.size !== piece.artifact.size) return false;
    return (await checkPiece(store, piece, options)) === undefined;
  } catch (error) {
    if (error instanceof BackupError && options.signal?.aborted !== true) return false;
    throw error;
  }
}

/**
 * Works through `items`, `atOnce` of them side by side, in order; begins none when `isOver` says so. Gives how many were not begun.
 * The first failure is thrown, when those that were begun have ended.
 */
export async function inParallel<Item>(
  items: readonly Item[],
  atOnce: number,
  work: (item: Item) => Promise<void>,
  isOver: () => boolean = () => false,
): Promise<number> {
  let next = 0;
  let hasFailed = false;
  const run = async (): Promise<void> => {
    while (next < items.length && !hasFailed && !isOver()) {
      next += 1;
      try {
        await work(items[next - 1] as Item);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const running = Array.from({ length: atOnce }, run);
  await Promise.allSettled(running);
  await Promise.all(running);
  return items.length - next;
}
