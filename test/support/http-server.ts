/** Git over HTTP on loopback: git's own `http-backend` behind basic authentication. (git-http-backend(1)) */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";

export interface HttpServer extends AsyncDisposable {
  /** `user` may write, `reader` may read only (403), a stranger or nobody is asked for a password (401). */
  url(name: string, who?: "user" | "reader" | "stranger"): string;
  /** Method and path of each request so far. */
  readonly requests: readonly string[];
}

const password = "s3cret";

/**
 * Serves the bare repositories of `root`, with `hasLfs` their LFS objects too. Git commands that talk to it must not block this
 * process: no `execFileSync`.
 */
export async function httpServer(root: string, { hasLfs = false } = {}): Promise<HttpServer> {
  const backend = join(execFileSync("git", ["--exec-path"], { encoding: "utf8" }).trim(), "git-http-backend");
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    const isLfs = request.url?.includes("/info/lfs/") === true;
    if (isLfs && hasLfs) void answerLfs(request, response, root);
    else answer(request, response, root, backend);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: (name, who) => `http://${who === undefined ? "" : `${who}:${who === "stranger" ? "guess" : password}@`}127.0.0.1:${port}/${name}`,
    requests,
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve()).closeAllConnections()),
  };
}

function answer(request: IncomingMessage, response: ServerResponse, root: string, backend: string): void {
  const { pathname, searchParams, search } = new URL(request.url ?? "/", "http://127.0.0.1");
  const given = Buffer.from((request.headers.authorization ?? "").replace(/^Basic /, ""), "base64").toString("utf8");
  const [user] = given.split(":");
  if (given !== `user:${password}` && given !== `reader:${password}`) return end(response, 401, { "WWW-Authenticate": 'Basic realm="git"' });
  const isPush = pathname.endsWith("git-receive-pack") || searchParams.get("service") === "git-receive-pack";
  if (isPush && user !== "user") return end(response, 403);
  const child = spawn(backend, [], {
    stdio: ["pipe", "pipe", "ignore"],
    env: {
      PATH: process.env["PATH"],
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      PATH_INFO: decodeURIComponent(pathname),
      QUERY_STRING: search.slice(1),
      REQUEST_METHOD: request.method ?? "GET",
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      CONTENT_LENGTH: request.headers["content-length"],
      HTTP_CONTENT_ENCODING: request.headers["content-encoding"],
      GIT_PROTOCOL: request.headers["git-protocol"] as string | undefined,
      REMOTE_USER: user,
      REMOTE_ADDR: "127.0.0.1",
    },
  });
  child.stdin.on("error", () => undefined); // it may answer without reading all of it
  request.pipe(child.stdin);
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => void chunks.push(chunk));
  child.once("close", () => {
    const output = Buffer.concat(chunks);
    const cut = output.indexOf("\r\n\r\n");
    const headers = Object.fromEntries(
      output
        .subarray(0, Math.max(0, cut))
        .toString("utf8")
        .split("\r\n")
        .map((line) => line.split(": ", 2) as [string, string]),
    );
    const { Status: status = cut === -1 ? "500" : "200", ...others } = headers;
    end(response, Number.parseInt(status, 10), others, output.subarray(cut + 4));
  });
}

/** The batch call and basic uploads, to where git-lfs itself keeps objects. (git-lfs, docs/api/batch.md) */
async function answerLfs(request: IncomingMessage, response: ServerResponse, root: string): Promise<void> {
  const body = await buffer(request);
  const [, name = "", oid = ""] = /^\/([^/]+)\/info\/lfs\/(?:objects\/(\w{64})$)?/.exec(request.url ?? "") ?? [];
  if (request.method === "PUT") {
    const folder = join(root, name, "lfs", "objects", oid.slice(0, 2), oid.slice(2, 4));
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, oid), body);
    return end(response, 200);
  }
  const { objects } = JSON.parse(body.toString("utf8")) as { objects: { oid: string; size: number }[] };
  const address = `http://${request.headers.host}/${name}/info/lfs/objects`;
  const wanted = objects.map((object) => ({ ...object, authenticated: true, actions: { upload: { href: `${address}/${object.oid}` } } }));
  const answered = Buffer.from(JSON.stringify({ transfer: "basic", objects: wanted }));
  end(response, 200, { "Content-Type": "application/vnd.git-lfs+json" }, answered);
}

function end(response: ServerResponse, status: number, headers: Record<string, string> = {}, body: Buffer = Buffer.alloc(0)): void {
  response.writeHead(status, headers).end(body);
}
