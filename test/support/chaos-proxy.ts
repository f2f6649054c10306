/**
 * A proxy on loopback before a real HTTP server that does to requests what networks and busy servers do, by a rule or by chance.
 * The request goes on as it came: its signature holds for the proxy's own host.
 */
import { Agent, createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";

/**
 * cut: the connection ends before the server hears of it. lost: the server has done it, and its answer is lost. half: half of the
 * answer's body, then the end. stall: no answer at all. error, busy, unable: 500, 503 with SlowDown, and 501, in
 * place of the server.
 * up, down: one bit of the request's or the answer's body is another. etag: an ETag that is no MD5, as of servers that encrypt.
 */
export type Fault = "cut" | "lost" | "half" | "stall" | "error" | "busy" | "unable" | "up" | "down" | "etag";

export interface Exchange {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Bytes of the request's body. */
  readonly size: number;
  /** How many requests came before. */
  readonly index: number;
}

export interface ChaosProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** What happens to a request; undefined: nothing. May be exchanged at any time. */
  rule: (exchange: Exchange) => Fault | undefined;
  /** Every request so far, and what was done to it. */
  readonly exchanges: (Exchange & { readonly fault: Fault | undefined })[];
}

export async function chaosProxy(target: string): Promise<ChaosProxy> {
  const { hostname, port } = new URL(target);
  const agent = new Agent({ keepAlive: true });
  const exchanges: ChaosProxy["exchanges"] = [];
  const server = createServer((request, response) => {
    handle(request, response).catch(() => request.destroy()); // the client went away
  });
  // A stalled request is the client's to give up.
  server.requestTimeout = 0;

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await buffer(request);
    const exchange = { method: request.method ?? "", path: request.url ?? "", size: body.length, index: exchanges.length };
    const fault = self.rule(exchange);
    exchanges.push({ ...exchange, fault });
    if (fault === "cut") return void request.socket.destroy();
    if (fault === "stall") return;
    if (fault === "error") return refuse(response, 500, "InternalError");
    if (fault === "busy") return refuse(response, 503, "SlowDown");
    if (fault === "unable") return refuse(response, 501, "NotImplemented");
    const answer = await forward(request, fault === "up" ? flipped(body) : body);
    if (fault === "lost") return void request.socket.destroy();
    const bytes = await buffer(answer);
    response.writeHead(
      answer.statusCode ?? 502,
      fault === "etag" ? { ...answer.headers, etag: '"0123456789abcdef0123456789abcdef"' } : answer.rawHeaders,
    );
    if (fault === "half" && bytes.length > 0) {
      response.write(bytes.subarray(0, bytes.length >> 1), () => request.socket.destroy());
      return;
    }
    response.end(fault === "down" ? flipped(bytes) : bytes);
  };

  const forward = (request: IncomingMessage, body: Buffer): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const { method, url } = request;
      const passed = httpRequest({ hostname, port, agent, ...(method === undefined ? {} : { method }), ...(url === undefined ? {} : { path: url }) });
      for (let at = 0; at < request.rawHeaders.length; at += 2) passed.setHeader(request.rawHeaders[at] ?? "", request.rawHeaders[at + 1] ?? "");
      passed.once("response", resolve).once("error", reject).end(body);
    });

  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const self: ChaosProxy = {
    endpoint: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    rule: () => undefined,
    exchanges,
    async [Symbol.asyncDispose]() {
      agent.destroy();
      await new Promise((resolve) => void server.close(resolve).closeAllConnections());
    },
  };
  return self;
}

/** As S3 servers answer. */
function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/xml" }).end(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`);
}

function flipped(bytes: Buffer): Buffer {
  const other = Buffer.from(bytes);
  const middle = other.length >> 1;
  if (other.length > 0) other[middle] = (other[middle] ?? 0) ^ 1;
  return other;
}
