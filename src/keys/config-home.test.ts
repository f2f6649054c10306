import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { configHome } from "./config-home.ts";

test.skipIf(process.platform !== "linux").each<[string, NodeJS.ProcessEnv, string]>([
  ["the chosen folder", { HOLDFAST_CONFIG_DIR: "/keys", XDG_CONFIG_HOME: "/xdg" }, "/keys"],
  ["a relative one, from here", { HOLDFAST_CONFIG_DIR: "keys" }, resolve("keys")],
  ["below XDG_CONFIG_HOME", { HOLDFAST_CONFIG_DIR: "", XDG_CONFIG_HOME: "/xdg" }, "/xdg/holdfast"],
  ["not below one that is relative, as the XDG specification says", { XDG_CONFIG_HOME: "xdg" }, join(homedir(), ".config/holdfast")],
  ["~/.config/holdfast", {}, join(homedir(), ".config/holdfast")],
])("configHome gives %s", (_, environment, folder) => {
  expect(configHome(environment)).toBe(folder);
});
