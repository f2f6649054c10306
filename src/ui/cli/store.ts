import { openApp } from "../../app.ts";
import { createStoreFolder } from "../../app-new-stores.ts";
import { openStore, primaryStore, refuseHiddenRef } from "../../app-stores.ts";
import type { StoreConfig } from "../../core/config.ts";
import { parseSize } from "../../core/config-nodes.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { isBranch, isRefName, parseStoreUrl } from "../../core/store-url.ts";
import { forgetCopyState } from "../../replicate/copy-state.ts";
import { writeConfigFile } from "../../setup/config-file.ts";
import { syncCopy } from "../../tasks/copies.ts";
import { chooseEncryption, type KeyNews } from "../../tasks/encryption.ts";
import { makePointNow } from "../../tasks/point.ts";
import { freeName } from "../../tasks/protect.ts";
import { refuseForeignCopy } from "../../tasks/sync.ts";
import { describePoint } from "./backup.ts";
import type { CommandContext } from "./context.ts";
import { reportKey } from "./identity.ts";
import { hasNewest, reportCopy } from "./sync.ts";
import { bytes, table } from "./words.ts";

interface StoreOptions {
  readonly ref?: string;
  readonly maxBytes?: string;
  readonly encrypt?: boolean;
}

/** `store add [NAME] URL [--ref REF] [--max-bytes SIZE]`, `store list`, `store check NAME`, `store remove NAME`. */
export async function store(
  { cwd, output, signal }: CommandContext,
  options: StoreOptions,
  action = "",
  first?: string,
  second?: string,
): Promise<number> {
  const app = await openApp(cwd);
  const { stores } = app.config;
  switch (action) {
    case "list": {
      for (const line of table(stores.map((store, index) => [store.name, store.url, describeRest(store, index === 0)]))) output.line(line);
      if (stores.length === 0) output.line("No stores. holdfast init --yes makes the first one.");
      output.json({ stores });
      return exitCodes.done;
    }
    case "add": {
      const url = second ?? first;
      if (url === undefined) throw new BackupError("usage", "which store?", { hint: "holdfast store add NAME URL" });
      const location = parseStoreUrl(url);
      const name = second === undefined ? freeName(url, stores) : (first ?? "");
      if (stores.some((known) => known.name === name || known.url === url))
        throw new BackupError("usage", `there is a store ${name} or ${url} already`, { hint: "holdfast store list" });
      if (stores.length === 0)
        throw new BackupError("not_protected", `${app.name} is not protected yet`, { hint: `holdfast init --yes --store ${url}` });
      const plain = options.encrypt === false ? { isPlain: true } : {};
      const added: StoreConfig = { name, url, ...branchOptions(options, isBranch(location)), ...plain };
      if (location.kind === "folder") await createStoreFolder(app, location.path);
      await refuseHiddenRef(app, added);
      await refuseForeignCopy(app, await openStore(app, added));
      const { config, news } = await chooseEncryption(app, { ...app.config, stores: [...stores, added] }, [added], options.encrypt);
      writeConfigFile(app.repository, app.configFile.path, config);
      if (news !== undefined) await beginEncrypted(cwd, news, { output, signal });
      const outcome = await syncCopy(await openApp(cwd), config.stores.find((store) => store.name === name) ?? added, { force: true, signal });
      reportCopy(outcome, output);
      output.json({ ...added, copy: outcome, ...(news === undefined ? {} : { key: news }) });
      return hasNewest(outcome) ? exitCodes.done : exitCodes.partial;
    }
    case "check":
      return (await import("./store-check.ts")).storeCheck({ app, output, signal }, first);
    case "remove": {
      if (!stores.some(({ name }) => name === first))
        throw new BackupError("usage", `there is no store called ${first ?? ""}`, { hint: "holdfast store list" });
      if (first === primaryStore(app).name) {
        throw new BackupError("usage", `${first} is the primary store: points are written there first`, {
          hint: `put another folder first under stores: in ${app.configFile.path}`,
        });
      }
      writeConfigFile(app.repository, app.configFile.path, { ...app.config, stores: stores.filter(({ name }) => name !== first) });
      forgetCopyState(app.state.copies, first ?? "");
      output.line(`${first} gets no more points. What is in it stays.`);
      output.json({ removed: first });
      return exitCodes.done;
    }
    default:
      throw new BackupError("usage", `there is no store ${action}`, { hint: "holdfast store add|list|check|remove" });
  }
}

/** The chain that the new store gets: a full point, encrypted. */
async function beginEncrypted(cwd: string, news: KeyNews, { output, signal }: Pick<CommandContext, "output" | "signal">): Promise<void> {
  reportKey(news, output);
  const made = await makePointNow(await openApp(cwd), { kind: "manual", isAsked: true, signal });
  if (made.status === "made") output.line(describePoint(made.manifest));
  output.line("Points made before are not encrypted, and stay where they are; to encrypt them too: holdfast key rewrap");
}

/** Throws `usage` for what a store of this kind cannot have. */
function branchOptions({ ref, maxBytes }: StoreOptions, isOfBranch: boolean): Pick<StoreConfig, "ref" | "maxBytes"> {
  if (!isOfBranch && (ref !== undefined || maxBytes !== undefined))
    throw new BackupError("usage", "--ref and --max-bytes are for branch stores", { hint: "holdfast store add NAME branch:REMOTE/holdfast/backup" });
  if (ref !== undefined && !(ref.startsWith("refs/") && isRefName(ref)))
    throw new BackupError("usage", `--ref should be a whole name, ${JSON.stringify(ref)} is not`, { hint: "--ref refs/holdfast/backup" });
  const size = maxBytes === undefined ? undefined : parseSize(maxBytes);
  if (maxBytes !== undefined && size === undefined)
    throw new BackupError("usage", `--max-bytes should be a size, ${JSON.stringify(maxBytes)} is not`, { hint: '--max-bytes "2 GiB"' });
  return { ...(ref === undefined ? {} : { ref }), ...(size === undefined ? {} : { maxBytes: size }) };
}

function describeRest({ ref, maxBytes }: StoreConfig, isPrimary: boolean): string {
  return [isPrimary ? "primary" : "", ref ?? "", maxBytes === undefined ? "" : `up to ${bytes(maxBytes)}`].filter((text) => text !== "").join(", ");
}
