/** Every store on this machine keeps the promises of the port. */
import { join } from "node:path";
import { tempDir } from "../../test/support/repo.ts";
import { storeContract } from "../../test/support/store-contract.ts";
import { git } from "../git/run.ts";
import { BranchStore } from "./branch.ts";
import type { OpenedStore } from "./contract.ts";
import { FolderStore } from "./folder.ts";
import { LimitedStore } from "./limited.ts";
import { MemoryStore } from "./memory.ts";
import type { Store } from "./store.ts";

const openMemory = async (): Promise<OpenedStore> => {
  const files = new Map<string, Buffer>();
  const again = async (): Promise<Store> => new MemoryStore("memory", files);
  return { store: await again(), reopen: again, [Symbol.asyncDispose]: async () => undefined };
};

const openFolder = async (): Promise<OpenedStore> => {
  const dir = tempDir();
  const again = async (): Promise<Store> => new FolderStore("folder", dir.path);
  return { store: await again(), reopen: again, [Symbol.asyncDispose]: async () => dir[Symbol.dispose]() };
};

const openBranch = (hasRemote: boolean, partSize: number) => async (): Promise<OpenedStore> => {
  const dir = tempDir();
  const remoteUrl = hasRemote ? join(dir.path, "remote.git") : null;
  if (remoteUrl !== null) await git(["init", "--quiet", "--bare", remoteUrl]);
  const options = {
    name: "branch",
    url: "branch:origin",
    gitDir: join(dir.path, "store.git"),
    remoteUrl,
    ref: "refs/heads/holdfast/backup",
    partSize,
  };
  const again = async (): Promise<Store> => new BranchStore(options);
  return { store: await again(), reopen: again, [Symbol.asyncDispose]: async () => dir[Symbol.dispose]() };
};

storeContract("memory", openMemory, { holdsAll: true });
storeContract("folder", openFolder);
storeContract("a limited folder", async () => {
  const opened = await openFolder();
  const limited = (store: Store): Store => new LimitedStore(store, 1 << 30);
  return { ...opened, store: limited(opened.store), reopen: async () => limited(await opened.reopen()) };
});
const edge = 100_000;
storeContract("branch with a remote", openBranch(true, edge), { edge, runs: 5, openLarge: openBranch(true, 10_000_000) });
storeContract("branch without a remote", openBranch(false, edge), { edge, runs: 5, openLarge: openBranch(false, 10_000_000) });
