/** Buckets keep the promises of the port, on two servers of different makes. */
import { describe } from "vitest";
import { hasS3, type S3Kind, s3Server, s3Store, s3Url, useCredentials } from "../../test/support/s3-server.ts";
import { storeContract } from "../../test/support/store-contract.ts";
import type { OpenedStore } from "./contract.ts";
import type { S3StoreOptions } from "./s3.ts";

const opener = (kind: S3Kind, options: Partial<S3StoreOptions>) => {
  let bucket: Promise<string> | undefined;
  let opened = 0;
  return async (): Promise<OpenedStore> => {
    const server = await s3Server(kind);
    useCredentials(server.owner);
    bucket ??= server.makeBucket();
    opened += 1;
    const url = s3Url(server.endpoint, await bucket, `place-${opened}`);
    return { store: s3Store(url, options), reopen: async () => s3Store(url, options), [Symbol.asyncDispose]: async () => undefined };
  };
};

for (const kind of ["ceph-rgw", "swift"] as const) {
  describe.skipIf(!hasS3(kind, `S3 stores on ${kind}`))(kind, () => {
    // Four parts of 8 MiB on their way, one being filled, and what the sockets hold.
    storeContract(`bucket on ${kind}`, opener(kind, {}), { runs: 4, heldBytes: 64 * 1024 * 1024 });
    // The smallest part that servers take is 5 MiB: the last one is shorter.
    const edge = 6 * 1024 * 1024;
    const inParts = { partsAbove: edge, partSize: 5 * 1024 * 1024 };
    storeContract(`bucket on ${kind}, in parts`, opener(kind, inParts), { edge, runs: 1, heldBytes: 48 * 1024 * 1024 });
  });
}
