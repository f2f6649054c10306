/** A restore without a process of its own, for tests that make many. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Manifest } from "../../src/core/manifest.ts";
import { planMoment } from "../../src/restore/plan.ts";
import { restore } from "../../src/restore/restore.ts";
import type { Store } from "../../src/stores/store.ts";

/**
 * Restores `point` into `scratch`, hands the folder to `look`, and removes it. Throws where the restored files differ
 * from the point's own inventory.
 */
export async function restorePoint<T>(
  store: Store,
  catalogue: readonly Manifest[],
  point: Manifest,
  scratch: string,
  look: (target: string) => T,
): Promise<T> {
  const target = join(scratch, `restored-${point.id}`);
  try {
    const { comparison } = await restore({ plan: planMoment(point, catalogue, []), store, target });
    const differences = comparison.differences.map(({ path, what }) => `${path} ${what}`);
    if (differences.length > 0) throw new Error(`${point.id} is restored otherwise than captured: ${differences.slice(0, 5).join(", ")}`);
    return look(target);
  } finally {
    rmSync(target, { recursive: true, force: true, maxRetries: 3 });
  }
}
