import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { userConfigFolder } from "./config-folder.ts";

test.skipIf(process.platform === "win32").each<[string, NodeJS.ProcessEnv, string]>([
  ["the chosen folder", { HOLDFAST_CONFIG_DIR: "/keys", XDG_CONFIG_HOME: "/xdg" }, "/keys"],
  ["a relative one, from here", { HOLDFAST_CONFIG_DIR: "keys" }, resolve("keys")],
  ["below XDG_CONFIG_HOME", { HOLDFAST_CONFIG_DIR: "", XDG_CONFIG_HOME: "/xdg" }, "/xdg/holdfast"],
  ["not below one that is relative, as the XDG specification says", { XDG_CONFIG_HOME: "xdg" }, join(homedir(), ".config/holdfast")],
  ["~/.config/holdfast", {}, join(homedir(), ".config/holdfast")],
])("userConfigFolder gives %s", (_, environment, folder) => {
  expect(userConfigFolder(environment)).toBe(folder);
});
