/** What every store carries for the day when Holdfast is not at hand. */
import { bytesSource, type CallOptions, readAll, type Store } from "../stores/store.ts";

export interface RecoveryTexts {
  readonly restoreSh: string;
  readonly recoveryMd: string;
}

/** Puts `restore.sh` and `RECOVERY.md` into the store, in place of an older version. */
export async function writeRecoveryFiles(store: Store, texts: RecoveryTexts, options: CallOptions = {}): Promise<void> {
  for (const [key, text] of [
    ["restore.sh", texts.restoreSh],
    ["RECOVERY.md", texts.recoveryMd],
  ] as const) {
    const present = await readAll(store, key, options);
    if (present?.toString("utf8") === text) continue;
    await store.replace(key, bytesSource(text), options);
  }
}
