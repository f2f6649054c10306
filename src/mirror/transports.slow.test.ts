/** The same life of a mirror over every transport: a path, a real sshd, and git's own HTTP backend. */
import { execFileSync } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { httpServer } from "../../test/support/http-server.ts";
import { type Bare, type Mirrored, mirrored } from "../../test/support/mirrored.ts";
import { needs } from "../../test/support/needs.ts";
import { hasSshd, sshServer } from "../../test/support/ssh-server.ts";
import { mirrorOf } from "../core/config.ts";
import { openRepository } from "../git/repository.ts";
import { mirrorAll } from "./mirror.ts";

interface Transport extends AsyncDisposable {
  url(bare: Bare): string;
}

const hasSsh = needs("sshd", "mirrors over ssh", hasSshd) && needs("ssh", "mirrors over ssh");

const open: Readonly<Record<string, (m: Mirrored, bare: Bare) => Promise<Transport>>> = {
  path: async () => ({ url: ({ path }) => path, [Symbol.asyncDispose]: async () => undefined }),
  file: async () => ({ url: ({ path }) => `file://${path}`, [Symbol.asyncDispose]: async () => undefined }),
  http: async (_m, bare) => {
    const server = await httpServer(dirname(bare.path));
    return { url: ({ path }) => server.url(basename(path), "user"), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  },
  ssh: async (m) => {
    const server = await sshServer();
    m.user.git("config", "core.sshCommand", server.command.known);
    return { url: ({ path }) => server.url(path), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
  },
};

function hook(bare: Bare, name: string, body: string): void {
  writeFileSync(join(bare.path, "hooks", name), `#!/bin/sh\n${body}\n`);
  chmodSync(join(bare.path, "hooks", name), 0o755);
}

describe.each(["path", "file", "http", "ssh"])("over %s", (name) => {
  test.skipIf(name === "ssh" && !hasSsh)("tips are created, moved, rewritten with the old one kept, deleted, refused, and checked", async () => {
    using m = mirrored();
    const bare = m.bare("a");
    await using transport = (await open[name]?.(m, bare)) as Transport;
    const url = transport.url(bare);
    m.user.git("branch", "topic");
    m.user.git("tag", "-a", "v1", "-m", "v1");
    expect(await m.run(url)).toMatchObject({ status: "ok", notes: [] });
    expect(bare.tips()).toEqual(m.tips());

    const first = m.user.commit();
    expect(await m.run(url)).toMatchObject({ status: "ok", kept: [] });
    expect(bare.tips()["refs/heads/main"]).toBe(first);

    const old = m.amend();
    const keptAs = "refs/holdfast/kept/20261121T143005Z/heads/main";
    expect(await m.run(url)).toMatchObject({ status: "ok", kept: [{ ref: "refs/heads/main", oid: old, keptAs }] });
    const deleted = m.user.git("rev-parse", "topic");
    m.user.git("branch", "-D", "topic");
    expect(await m.run(url)).toMatchObject({ status: "ok", kept: [{ ref: "refs/heads/topic" }] });
    const kept = { [keptAs]: old, "refs/holdfast/kept/20261121T143005Z/heads/topic": deleted };
    expect(bare.tips()).toEqual({ ...m.tips(), ...kept });
    expect(await m.check(url)).toMatchObject({ status: "same", kept: 2 });

    hook(bare, "pre-receive", "echo 'closed today' >&2; exit 1");
    m.user.commit();
    expect(await m.run(url)).toMatchObject({ status: "rejected", message: expect.stringContaining("closed today"), hint: expect.any(String) });
    expect(bare.tips()["refs/heads/main"]).not.toBe(m.tips()["refs/heads/main"]);
  });
});

describe("not let in", () => {
  test("http: no credentials, wrong ones, and the right to read only are told apart; nothing asks, no password is shown", async () => {
    using m = mirrored();
    const bare = m.bare("a");
    await using server = await httpServer(dirname(bare.path));
    const stranger = await m.run(server.url("a.git", "stranger"), { force: false });
    expect(stranger).toMatchObject({ status: "unauthorized", hint: expect.stringContaining("credential.helper") });
    expect(stranger.nextAttemptAt).toEqual(new Date("2026-11-21T14:30:35Z"));
    expect(JSON.stringify(stranger)).not.toContain("guess");
    expect(await m.run(server.url("a.git"))).toMatchObject({ status: "unauthorized", message: expect.stringContaining("user name and password") });
    const reader = await m.run(server.url("a.git", "reader"));
    expect(reader).toMatchObject({
      status: "unauthorized",
      message: expect.stringContaining("not to write"),
      hint: expect.stringContaining("right to push"),
    });
    expect(await m.check(server.url("a.git"))).toMatchObject({ status: "unauthorized", refs: [], kept: 0 });
    expect(bare.tips()).toEqual({});
  });

  test("http: who was not let in is not asked again at every commit, and is well when let in", async () => {
    using m = mirrored();
    const bare = m.bare("a");
    await using server = await httpServer(dirname(bare.path));
    m.user.git("remote", "set-url", "a", server.url("a.git"));
    await m.run("a");
    const asked = server.requests.length;
    expect(await m.run("a", { force: false })).toMatchObject({ status: "unauthorized" });
    expect(server.requests).toHaveLength(asked);
    m.user.git("config", "credential.helper", "!f() { echo username=user; echo password=s3cret; }; f");
    expect(await m.run("a")).toMatchObject({ status: "ok" });
  });

  test("http: no program that asks is called, and a helper with windows is told not to open one", async () => {
    using m = mirrored();
    const bare = m.bare("a");
    await using server = await httpServer(dirname(bare.path));
    const [asking, helper, said] = ["asking", "helper", "said"].map((name) => join(dirname(bare.path), name)) as [string, string, string];
    writeFileSync(asking, `#!/bin/sh\necho asked >>'${said}'\necho s3cret\n`, { mode: 0o755 });
    const told = "$GCM_INTERACTIVE $SSH_ASKPASS_REQUIRE $(git config credential.interactive)";
    writeFileSync(helper, `#!/bin/sh\necho "$1 ${told}" >>'${said}'\n`, { mode: 0o755 });
    m.user.git("config", "core.askPass", asking);
    m.user.git("config", "credential.helper", helper);
    process.env["GIT_ASKPASS"] = asking;
    process.env["SSH_ASKPASS"] = asking;
    try {
      expect(await m.run(server.url("a.git"))).toMatchObject({ status: "unauthorized" });
    } finally {
      delete process.env["GIT_ASKPASS"];
      delete process.env["SSH_ASKPASS"];
    }
    expect(readFileSync(said, "utf8")).toBe("get never never false\n");
  });

  test.skipIf(!hasSsh)("ssh: a key that is not accepted, a host that is not known, and a host that changed its key", async () => {
    using m = mirrored();
    const bare = m.bare("a");
    await using server = await sshServer();
    await using other = await sshServer();
    const url = server.url(bare.path);
    m.user.git("config", "core.sshCommand", server.command.stranger);
    expect(await m.run(url)).toMatchObject({ status: "unauthorized", hint: expect.stringContaining("ssh-add") });
    m.user.git("config", "core.sshCommand", server.command.newHost);
    expect(await m.run(url)).toMatchObject({ status: "unauthorized", hint: expect.stringContaining("known_hosts") });
    const alias = /127\.0\.0\.1:(\d+)/;
    m.user.git("config", "core.sshCommand", `${server.command.known} -o HostKeyAlias=[127.0.0.1]:${alias.exec(url)?.[1]}`);
    const changed = await m.run(other.url(bare.path));
    expect(changed).toMatchObject({
      status: "unauthorized",
      message: expect.stringContaining("another key"),
      hint: expect.stringContaining("ssh-keygen -R"),
    });
    m.user.git("config", "core.sshCommand", server.command.known);
    expect(await m.run(url)).toMatchObject({ status: "ok" });
  });
});

test.skipIf(!hasSsh)("a host that says nothing, and a push that hangs at the far end, delay no other remote", async () => {
  using m = mirrored();
  const [good, hanging] = [m.bare("good"), m.bare("hanging")];
  await using server = await sshServer();
  m.user.git("config", "core.sshCommand", server.command.known);
  const fifo = join(dirname(hanging.path), "fifo");
  execFileSync("mkfifo", [fifo]);
  hook(hanging, "pre-receive", `cat ${fifo}`);
  const silent = createServer();
  await new Promise<void>((resolve) => void silent.listen(0, "127.0.0.1", resolve));
  const silentUrl = `ssh://127.0.0.1:${(silent.address() as AddressInfo).port}/x.git`;
  const sockets: Socket[] = [];
  silent.on("connection", (socket) => void sockets.push(socket.on("error", () => undefined)));

  const done: string[] = [];
  let released: Promise<unknown> = Promise.resolve();
  const outcomes = await mirrorAll({
    repository: await openRepository(m.user.path),
    mirrors: [silentUrl, server.url(hanging.path), server.url(good.path)].map(mirrorOf),
    machine: "box",
    reserved: [],
    stateDir: m.state,
    now: () => m.clock,
    random: () => 0.5,
    onEvent: (event) => {
      if (event.kind !== "mirror_done") return;
      done.push(event.outcome.url);
      if (done.length > 1) return;
      // Only now may the others come to their end.
      for (const socket of sockets) socket.destroy();
      released = writeFile(fifo, "");
    },
  });
  await released;
  silent.close();
  expect(done[0]).toBe(outcomes[2]?.url);
  expect(outcomes.map(({ status }) => status)).toEqual(["unreachable", "ok", "ok"]);
});
