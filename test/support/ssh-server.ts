/** A real sshd on loopback: its own host key, one user key that it knows, one that it does not. Ended by pid. */
import { execFileSync, spawn } from "node:child_process";
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { freePort, isListening } from "./loopback.ts";
import { tempDir } from "./repo.ts";
import { until } from "./until.ts";

const program = "/usr/sbin/sshd";

export interface SshServer extends AsyncDisposable {
  /** The URL of a repository of this machine. */
  url(path: string): string;
  readonly port: number;
  /** Files: a key that is let in, and the host's own as clients should know it. */
  readonly files: { readonly key: string; readonly knownHosts: string };
  /** For GIT_SSH_COMMAND: with a key that is let in, one that is not, and one that is while the host's key is unknown. */
  readonly command: { readonly known: string; readonly stranger: string; readonly newHost: string };
}

/** For `needs()`: sshd lies outside the PATH of users. */
export function hasSshd(): boolean {
  try {
    accessSync(program, constants.X_OK);
    return true;
  } catch {
    return false; // not installed: the test is skipped and named
  }
}

export async function sshServer(): Promise<SshServer> {
  const dir = tempDir();
  const at = (name: string): string => join(dir.path, name);
  for (const key of ["host", "known", "stranger"]) execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", at(key)]);
  const port = await freePort();
  writeFileSync(at("authorized_keys"), readFileSync(at("known.pub")), { mode: 0o600 });
  writeFileSync(at("known_hosts"), `[127.0.0.1]:${port} ${readFileSync(at("host.pub"), "utf8")}`);
  writeFileSync(at("no_hosts"), "");
  const settings = [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${at("host")}`,
    `AuthorizedKeysFile ${at("authorized_keys")}`,
    "PidFile none",
    "StrictModes no",
    "UsePAM no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "PermitRootLogin prohibit-password",
    "Subsystem sftp internal-sftp",
  ];
  writeFileSync(at("sshd_config"), `${settings.join("\n")}\n`);
  // Where sshd, started by root, locks itself in before it knows who is there; a service manager makes it otherwise.
  if (userInfo().uid === 0) mkdirSync("/run/sshd", { recursive: true });
  const child = spawn(program, ["-D", "-e", "-f", at("sshd_config")], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString("utf8");
  });
  const ended = new Promise<void>((resolve) => void child.once("close", () => resolve()).once("error", () => resolve()));
  await until("sshd listens", () => {
    if (child.exitCode !== null) throw new Error(`sshd ended: ${said}`);
    return isListening(port);
  });
  const ssh = (key: string, hosts: string): string =>
    `ssh -F none -i ${at(key)} -o IdentitiesOnly=yes -o IdentityAgent=none -o UserKnownHostsFile=${at(hosts)} -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes`;
  return {
    url: (path) => `ssh://${userInfo().username}@127.0.0.1:${port}${path}`,
    port,
    files: { key: at("known"), knownHosts: at("known_hosts") },
    command: { known: ssh("known", "known_hosts"), stranger: ssh("stranger", "known_hosts"), newHost: ssh("known", "no_hosts") },
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
      dir[Symbol.dispose]();
    },
  };
}
