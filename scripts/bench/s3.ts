/**
 * Throughput to and from a bucket, beside rclone in the same run: whole processes, one file of random bytes, Ceph's object gateway on
 * loopback. Every download is compared with its sha256. Prints MiB/s and the largest memory; asserts nothing.
 *
 *   node scripts/bench/s3.ts [--mib 1024] [--runs 3] [--part MIB] [--parallel N]
 *
 * Needs rclone and what scripts/servers/ceph-rgw.sh names, and room for three such files in TMPDIR and in memory.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, createReadStream, createWriteStream, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { S3 } from "@aws-sdk/client-s3";
import { parseStoreUrl, type S3Location } from "../../src/core/store-url.ts";
import { S3Store } from "../../src/stores/s3.ts";
import { freePorts } from "../../test/support/loopback.ts";

const { values: options } = parseArgs({
  options: {
    mib: { type: "string", default: "1024" },
    runs: { type: "string", default: "3" },
    part: { type: "string", default: "8" },
    parallel: { type: "string", default: "4" },
    // What a child does: "put" or "get", of which key, from or to which file.
    act: { type: "string" },
    url: { type: "string", default: "" },
    key: { type: "string", default: "" },
    file: { type: "string", default: "" },
  },
});
const mebibyte = 1 << 20;

if (options.act === undefined) await compare();
else await act(options.act);

/** One transfer, in a process of its own; says its largest memory. */
async function act(action: string): Promise<void> {
  const { url, key, file } = options;
  const location = parseStoreUrl(url) as S3Location;
  const store = new S3Store({
    name: "bench",
    url,
    location,
    folder: "",
    partSize: Number(options.part) * mebibyte,
    parallel: Number(options.parallel),
  });
  if (action === "put") {
    await store.put(key, { size: statSync(file).size, open: () => createReadStream(file, { highWaterMark: mebibyte }) });
  } else {
    const sum = createHash("sha256");
    const summed = async function* (chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const chunk of chunks) {
        sum.update(chunk);
        yield chunk;
      }
    };
    await pipeline(summed((await store.get(key)) ?? missing()), createWriteStream(file));
    process.stdout.write(`${sum.digest("hex")} `);
  }
  process.stdout.write(`${process.resourceUsage().maxRSS * 1024}\n`);
}

async function compare(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  const script = join(import.meta.dirname, "../servers/ceph-rgw.sh");
  const servers = join(root, "ceph");
  const port = await freePorts(2);
  const endpoint = `http://127.0.0.1:${port}`;
  const environment = {
    PATH: process.env["PATH"] ?? "",
    HOME: root,
    AWS_ACCESS_KEY_ID: "testkey",
    AWS_SECRET_ACCESS_KEY: "testsecret",
    RCLONE_CONFIG: join(root, "none"),
    RCLONE_CONFIG_HERE_TYPE: "s3",
    RCLONE_CONFIG_HERE_PROVIDER: "Ceph",
    RCLONE_CONFIG_HERE_ENV_AUTH: "true",
    RCLONE_CONFIG_HERE_ENDPOINT: endpoint,
  };
  try {
    execFileSync(script, ["start", servers, String(port)], { env: { ...process.env, MEMORY: "8G" }, stdio: "inherit" });
    const client = new S3({
      endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId: "testkey", secretAccessKey: "testsecret" },
    });
    await client.createBucket({ Bucket: "bench" });
    const { file, sha256 } = makeFile(root, Number(options.mib));
    const results = new Map<string, number[]>();
    const note = (name: string, value: number): void => void results.set(name, [...(results.get(name) ?? []), value]);
    const timed = (name: string, command: string, args: readonly string[]): string => {
      const startedAt = performance.now();
      const { status, stdout, stderr } = spawnSync(command, args, { env: environment, encoding: "utf8" });
      if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}: ${stderr}`);
      note(`${name} MiB/s`, Number(options.mib) / ((performance.now() - startedAt) / 1000));
      return stdout;
    };
    const target = join(root, "target");
    const ours = (action: string, key: string, path: string): string[] => [
      import.meta.filename,
      ...["--act", action, "--url", `s3://bench/ours?endpoint=${endpoint}`, "--key", key, "--file", path],
      ...["--part", options.part, "--parallel", options.parallel],
    ];
    for (let run = 0; run < Number(options.runs); run += 1) {
      note("holdfast upload RSS MiB", Number(timed("holdfast upload", process.execPath, ours("put", `${run}`, file))) / mebibyte);
      timed("rclone upload", "rclone", ["copyto", file, `here:bench/theirs/${run}`]);
      const [sum, rss] = timed("holdfast download", process.execPath, ours("get", `${run}`, target)).split(" ");
      note("holdfast download RSS MiB", Number(rss) / mebibyte);
      if (sum !== sha256) throw new Error("holdfast's download has other bytes");
      rmSync(target);
      timed("rclone download", "rclone", ["copyto", `here:bench/theirs/${run}`, target]);
      rmSync(target);
      for (const key of [`ours/${run}`, `theirs/${run}`]) await client.deleteObject({ Bucket: "bench", Key: key });
      // The server frees memory at leisure, unless asked.
      spawnSync("radosgw-admin", ["gc", "process", "--include-all"], { env: { ...environment, CEPH_CONF: join(servers, "ceph.conf") } });
    }
    for (const [name, values] of results)
      console.log(`${name.padEnd(28)}${median(values).toFixed(0).padStart(6)}   (${values.map(Math.round).join(", ")})`);
  } finally {
    execFileSync(script, ["stop", servers], { stdio: "inherit" });
    rmSync(root, { recursive: true, force: true, maxRetries: 5 });
  }
}

function makeFile(root: string, mib: number): { readonly file: string; readonly sha256: string } {
  const file = join(root, "data");
  const sum = createHash("sha256");
  const handle = openSync(file, "w");
  for (let part = 0; part < mib; part += 1) {
    const bytes = randomBytes(mebibyte);
    sum.update(bytes);
    writeSync(handle, bytes);
  }
  closeSync(handle);
  return { file, sha256: sum.digest("hex") };
}

function missing(): never {
  throw new Error("the object is gone");
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
