import { expect, test } from "vitest";
import { pointKindOf } from "./events.ts";

test("one push among the marks makes it a push, anything else is a commit", () => {
  expect(pointKindOf(["post-commit", "pre-push", "post-commit"])).toBe("push");
  expect(pointKindOf(["post-merge", "unheard-of"])).toBe("commit");
  expect(pointKindOf([])).toBe("commit");
});
