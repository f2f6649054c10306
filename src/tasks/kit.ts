/** Writes the recovery kit of this repository. */
import { join } from "node:path";
import { type App, now } from "../app.ts";
import { branchUrl, folderStores } from "../app-places.ts";
import { keySettings } from "../app-stores.ts";
import type { StoreConfig } from "../core/config.ts";
import { parseStoreUrl, repositoryUrl } from "../core/store-url.ts";
import { shellWord } from "../core/words.ts";
import { withoutCredentials } from "../git/run.ts";
import { configHome } from "../keys/config-home.ts";
import { type Kit, type KitStore, renderKit } from "../keys/kit.ts";
import { readIdentityText } from "../keys/open.ts";
import { replacePrivateFile } from "../keys/private-file.ts";
import { findRepositoryId } from "../state/repository-id.ts";
import { readKeyPairs } from "./encryption.ts";
import { refuseInside } from "./keys.ts";

/** Gives the file's path. `output` undefined: beside the key, where nothing commits it. Throws `key_missing`, `key_wrong`, `usage`. */
export async function writeKit(app: App, output: string | undefined): Promise<string> {
  const settings = keySettings(app);
  const path = output ?? join(configHome(settings.environment), `recovery-kit-${app.name.replaceAll(/[^A-Za-z0-9._-]+/g, "-")}.html`);
  refuseInside(app, path);
  const { file, text } = await readIdentityText(settings);
  const { parseIdentities } = await import("../keys/identities.ts");
  const pairs = (await readKeyPairs(text, file.path)).toReversed();
  const { ssh, plugins } = await parseIdentities(text, file.path);
  const keys = [
    ...pairs.map(({ identity, recipient }) => ({ secret: identity, recipient })),
    ...[...plugins, ...(ssh === undefined ? [] : [ssh])].map((secret) => ({ secret: secret.trimEnd(), recipient: undefined })),
  ];
  const repository = findRepositoryId(app.state);
  const stores = await Promise.all(app.config.stores.map((store) => kitStore(app, store, repository)));
  const kit: Kit = { name: app.name, repository, made: now(), keys, stores };
  const { renderSVG } = await import("uqr");
  replacePrivateFile(
    path,
    renderKit(kit, (secret) => renderSVG(secret, { border: 2, ecc: secret.length > 500 ? "L" : "M" })),
  );
  return path;
}

async function kitStore(app: App, store: StoreConfig, repository = "REPOSITORY-ID"): Promise<KitStore> {
  const { name } = store;
  const known = parseStoreUrl(store.url);
  // The sheet is read in years, when the bucket may hold other repositories too.
  const address = known.kind === "s3" || known.kind === "rclone" ? repositoryUrl(store.url, repository) : store.url;
  const location = parseStoreUrl(address);
  switch (location.kind) {
    case "folder": {
      const path = folderStores(app).find((folder) => folder.name === name)?.path ?? location.path;
      return { name, address: path, fetch: [], folder: path };
    }
    case "s3": {
      const endpoint = location.endpoint === undefined ? "" : ` --endpoint-url ${shellWord(location.endpoint)}`;
      const place = `s3://${location.bucket}/${location.prefix}`;
      return { name, address, fetch: [`aws s3 sync ${shellWord(place)} store${endpoint}`], folder: "store" };
    }
    case "rclone":
      return { name, address, fetch: [`rclone copy ${shellWord(location.path)} store`], folder: "store" };
    default: {
      const url = withoutCredentials((await branchUrl(app, store)) ?? store.url);
      const ref = store.ref ?? location.ref;
      const branch = /^refs\/heads\/(.+)$/.exec(ref)?.[1];
      const fetch =
        branch === undefined
          ? ["git init store", `git -C store fetch ${shellWord(url)} ${shellWord(ref)}`, "git -C store checkout -b store FETCH_HEAD"]
          : [`git clone --branch ${shellWord(branch)} --single-branch ${shellWord(url)} store`];
      return { name, address: `branch:${url}#${branch ?? ref}`, fetch, folder: "store" };
    }
  }
}
