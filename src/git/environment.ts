/**
 * The environment of every git that Holdfast starts. Built from a list, never inherited: inside a hook git
 * sets GIT_DIR, GIT_INDEX_FILE, GIT_AUTHOR_DATE and more, which would bend a child to the hook's own repository.
 */

/** Variables of the user's that decide how git finds its configuration, its keys and the network. */
const passed = [
  "PATH", "HOME", "TZ", "USER", "LOGNAME", "SHELL", "TMPDIR", "TEMP", "TMP", "LANG",
  "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
  "SSH_AUTH_SOCK", "SSH_AGENT_PID", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT",
  "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES",
  "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_PROXY_COMMAND",
  "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
  "SystemRoot", "SYSTEMROOT", "COMSPEC", "PATHEXT", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA", "ProgramData", "ProgramFiles",
]; // biome-ignore format: read as groups

/** Set for our own git calls and what they start; our hooks see it and stay silent. */
export const activeVariable = "HOLDFAST_ACTIVE";

const fixed = {
  LC_ALL: "C",
  GIT_TERMINAL_PROMPT: "0",
  GIT_OPTIONAL_LOCKS: "0",
  GIT_ASKPASS: "false",
  SSH_ASKPASS: "false",
  SSH_ASKPASS_REQUIRE: "never",
  GCM_INTERACTIVE: "never",
  GIT_NO_LAZY_FETCH: "1",
  [activeVariable]: "1",
};

export function gitEnvironment(from: NodeJS.ProcessEnv, extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const name of passed) {
    const value = from[name];
    if (value !== undefined) environment[name] = value;
  }
  return { ...environment, ...fixed, ...extra };
}
