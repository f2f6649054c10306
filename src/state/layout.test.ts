import { expect, test } from "vitest";
import { stateDirOf, stateLayout } from "./layout.ts";

test("everything lies in the state folder, each under a name of its own", () => {
  const { root, ...paths } = stateLayout(stateDirOf("/repo/.git"));
  expect(root).toBe("/repo/.git/holdfast");
  for (const path of Object.values(paths)) expect(path).toMatch(/^\/repo\/\.git\/holdfast\/[a-z0-9._-]+$/);
  expect(new Set(Object.values(paths)).size).toBe(Object.keys(paths).length);
});
