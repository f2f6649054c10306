/** Stores on rclone remotes keep the promises of the port: with sums of the remote's own, without, over http, over ssh. */
import { afterAll, beforeAll, describe } from "vitest";
import { needs } from "../../test/support/needs.ts";
import { cryptRemote, localRemote, type RcloneRemoteForTests, sftpRemote, webdavRemote } from "../../test/support/rclone.ts";
import { hasSshd } from "../../test/support/ssh-server.ts";
import { storeContract } from "../../test/support/store-contract.ts";
import type { OpenedStore } from "./contract.ts";
import { RcloneStore } from "./rclone.ts";

const rclone = needs("rclone", "stores on rclone remotes");
const sshd = needs("sshd", "stores on rclone's sftp", hasSshd);

const remotes = [
  { name: "rclone on a folder", serve: localRemote, isHere: rclone },
  { name: "rclone with encrypted names", serve: cryptRemote, isHere: rclone },
  { name: "rclone over webdav", serve: webdavRemote, isHere: rclone },
  { name: "rclone over sftp", serve: sftpRemote, isHere: rclone && sshd },
];

let folders = 0;

for (const { name, serve, isHere } of remotes) {
  describe.skipIf(!isHere)(name, () => {
    let served: RcloneRemoteForTests;
    beforeAll(async () => {
      served = await serve();
    });
    afterAll(() => served[Symbol.asyncDispose]());

    const open = async (): Promise<OpenedStore> => {
      folders += 1;
      const folder = `store-${folders}/`;
      const opened: RcloneStore[] = [];
      const again = async (): Promise<RcloneStore> => {
        const environment = { ...process.env, ...served.environment };
        const store = new RcloneStore({
          name: "copy",
          url: `rclone:${served.remote}`,
          path: `${served.remote}`.replace(/\/$/, ""),
          folder,
          environment,
        });
        opened.push(store);
        return store;
      };
      return {
        store: await again(),
        reopen: again,
        [Symbol.asyncDispose]: async () => void (await Promise.all(opened.map((store) => store.close()))),
      };
    };
    storeContract(name, open, { runs: 2 });
  });
}
