/** Signed points through the command line: who is trusted, what is told, what is refused. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { manifestKey } from "../src/core/manifest.ts";
import { runCli } from "./support/cli.ts";
import { needs } from "./support/needs.ts";
import { tempDir } from "./support/repo.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const ssh = needs("ssh-keygen", "signed manifests beside ssh-keygen");

/** A machine with keys of its own. */
const machine = (work: Workspace, name: string) => ({ env: { HOLDFAST_CONFIG_DIR: join(work.path, "machines", name) } });
const manifestFile = (work: Workspace, id: string) => join(work.store, manifestKey(id));
const rewrite = (work: Workspace, id: string, from: RegExp, to: string) => {
  const text = readFileSync(manifestFile(work, id), "utf8");
  expect(text).toMatch(from);
  writeFileSync(manifestFile(work, id), text.replace(from, to));
};
const signers = (work: Workspace) => join(work.repo.path, ".git/holdfast/allowed_signers");

describe("a signed point", () => {
  test("is of this machine, and told everywhere", async () => {
    using work = await workspace();
    const id = await work.backup();
    const { checks } = await work.json(["doctor"]);
    const fingerprint = /SHA256:\S+/.exec(checks.find(({ name }: { name: string }) => name === "signing").detail)?.[0];
    const trusted = { status: "trusted", fingerprint, signer: expect.any(String) };
    expect((await work.json(["points"])).signatures).toEqual([expect.objectContaining(trusted), { id, ...trusted }]);
    expect((await work.json(["show", id])).signature).toEqual({ point: expect.any(String), ...trusted });
    expect((await work.run(["show", id])).stdout).toMatch(/signed +by \S+ \(SHA256:\S+\), which this machine trusts\n/);
    expect((await work.run(["restore", "--verify-only"])).stderr).toContain(`(${fingerprint}), which this machine trusts.`);
  });

  test.skipIf(!ssh)("is verified by hand as docs/format.md says, with ssh-keygen and the list in .git/holdfast", async () => {
    using work = await workspace();
    const id = await work.backup();
    const recipe = /```sh\n(sed [\s\S]*?ssh-keygen -Y verify[^\n]*\n)```/.exec(
      readFileSync(new URL("../docs/format.md", import.meta.url), "utf8"),
    )?.[1];
    const [signer = ""] = readFileSync(signers(work), "utf8").trim().split(" ");
    const verify = (): string =>
      execFileSync("sh", ["-ec", recipe ?? "exit 9"], {
        cwd: work.path,
        env: { ...process.env, MANIFEST: manifestFile(work, id), SIGNERS: signers(work), SIGNER: signer },
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    expect(verify()).toMatch(/^Good "holdfast" signature for \S+ with ED25519 key SHA256:/);
    rewrite(work, id, /"files": 1|"files":\d+/, '"files":77');
    expect(verify).toThrow();
  });

  test("that was changed is refused with exit 13, restored with --force, and named in the list", async () => {
    using work = await workspace();
    const id = await work.backup();
    rewrite(work, id, /"retention": "policy"/, '"retention": "permanent"');
    const refused = await work.run(["restore", id, "--verify-only", "--json"]);
    expect(refused.code).toBe(13);
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: "signature_bad", details: { point: id } } });
    const to = join(work.path, "restored");
    const forced = await work.run(["restore", id, "--to", to, "--force"]);
    expect(forced).toMatchObject({ code: 0, stderr: expect.stringMatching(/warning: .*does NOT hold.*because of --force/) });
    expect(readFileSync(join(to, "a.txt"), "utf8")).toBe("one\n");
    expect((await work.run(["points"])).stdout).toMatch(/BAD SIGNATURE\n$/);
    expect((await work.run(["recover", work.store, join(work.path, "bare")])).code).toBe(13);
  });

  test("whose signature was taken off is told: nothing shows who made it", async () => {
    using work = await workspace();
    const id = await work.backup();
    rewrite(work, id, /"signature": ".*"/, '"signature": null');
    const { stderr, code } = await work.run(["restore", id, "--verify-only"]);
    expect(code).toBe(0);
    expect(stderr).toContain(`Point ${id} is not signed`);
  });
});

describe("whose keys are trusted", () => {
  test("on the first use of a store its signers are taken and named; a later one is unknown until it is trusted", async () => {
    using work = await workspace({ isProtected: false });
    const [desk, lamp, visitor] = [machine(work, "desk"), machine(work, "lamp"), machine(work, "visitor")];
    expect((await work.run(["init", "--yes", "--no-hooks", "--store", work.store], desk)).code).toBe(0);
    rmSync(join(work.repo.path, ".git/holdfast"), { recursive: true });
    const first = await work.run(["points"], visitor);
    expect(first).toMatchObject({ code: 0, stderr: expect.stringMatching(/First use of the store local: .* trusted from now on, SHA256:/) });
    expect((await work.run(["points"], visitor)).stderr).toBe("");

    // Another machine joins the store, with a memory of its own.
    const before = readFileSync(signers(work), "utf8");
    expect((await work.run(["backup"], lamp)).code).toBe(0);
    writeFileSync(signers(work), before);
    const list = await work.run(["points"], visitor);
    expect(list.stdout).toMatch(/unknown signer\n$/);
    const restored = await work.run(["restore", "--verify-only"], visitor);
    const fingerprint = /holdfast key trust (SHA256:\S+)/.exec(restored.stderr)?.[1] ?? "";
    expect(restored.code).toBe(0);
    const unknown = await work.run(["key", "trust", "--json"], visitor);
    expect(unknown.code).toBe(3);
    expect(JSON.parse(unknown.stdout).unknown).toMatchObject([{ fingerprint, points: 1, store: "local" }]);

    expect((await work.run(["key", "trust", "SHA256:nobody"], visitor)).code).toBe(2);
    expect((await work.run(["key", "trust", fingerprint], visitor)).stdout).toContain("trusted from now on");
    expect((await work.run(["key", "trust"], visitor)).stdout).toContain("Every signed point");
    expect((await work.run(["restore", "--verify-only"], visitor)).stderr).toContain("which this machine trusts.");
  });

  test("recover on a bare machine names the key, and the recovered repository trusts it", async () => {
    using work = await workspace({ isProtected: false });
    using bare = tempDir();
    await work.run(["init", "--yes", "--no-hooks", "--store", work.store], machine(work, "desk"));
    const target = join(bare.path, "back");
    const { code, stderr } = await runCli(["recover", work.store, target], { cwd: bare.path, ...machine(work, "new") });
    expect(code).toBe(0);
    const fingerprint = /Signed with the key (SHA256:\S+): is it/.exec(stderr)?.[1] ?? "none";
    expect(stderr).toContain(`trusted from now on, ${fingerprint}`);
    const list = await runCli(["points", "--json", "--store", work.store], { cwd: target, ...machine(work, "new") });
    expect(JSON.parse(list.stdout).signatures).toMatchObject([{ status: "trusted", fingerprint }]);
  });

  test("a list that cannot be read or written keeps nobody from a restore, and doctor tells", async () => {
    using work = await workspace();
    rmSync(signers(work));
    mkdirSync(signers(work));
    rmSync(join(work.repo.path, ".git/holdfast/met-stores"));
    const restored = await work.run(["restore", "--verify-only"]);
    expect(restored).toMatchObject({ code: 0, stderr: expect.stringContaining("which this machine trusts.") });
    expect((await work.run(["restore", "--verify-only"], machine(work, "visitor"))).stderr).toContain("which this machine does not know");
    expect((await work.run(["backup"])).code).toBe(0);
    expect((await work.run(["doctor"])).stdout).toMatch(/wrong {3}signing: cannot read .*allowed_signers/);
  });

  test("a key that cannot be used fails no point: it is unsigned, and said", async () => {
    using work = await workspace();
    const broken = machine(work, "broken");
    mkdirSync(broken.env.HOLDFAST_CONFIG_DIR, { recursive: true });
    writeFileSync(join(broken.env.HOLDFAST_CONFIG_DIR, "signing-key"), "no key");
    const made = await work.run(["backup", "--json"], broken);
    expect(made.code).toBe(0);
    expect(JSON.parse(made.stdout)).toMatchObject({ point: { signature: null }, unsigned: expect.stringContaining("signing-key") });
    expect(made.stderr).toContain("the point is not signed");
    const doctor = await work.run(["doctor"], broken);
    expect(doctor.stdout).toMatch(/wrong {3}signing: .*signing-key: is no Ed25519 key in PEM\n +hint: mv /);
  });
});
