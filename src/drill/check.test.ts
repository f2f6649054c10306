import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { runCheck } from "./check.ts";

afterEach(() => void vi.useRealTimers());

test.each([
  ["exit 0", 0, undefined],
  ["exit 7", 7, "the check `exit 7` ended with 7"],
  ["kill -TERM $$", null, "the check `kill -TERM $$` was ended by SIGTERM"],
])("%s", async (command, code, finding) => {
  using dir = tempDir();
  expect(await runCheck({ command, folder: dir.path })).toMatchObject({ outcome: { command, code }, finding });
});

test("one that does not end is ended, with all that it started", async () => {
  using dir = tempDir();
  const started = join(dir.path, "started");
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  const running = runCheck({ command: "sleep 600 & touch started; wait", folder: dir.path });
  while (!existsSync(started)) await new Promise((resolve) => setImmediate(resolve));
  vi.advanceTimersByTime(30 * 60_000);
  expect(await running).toMatchObject({ outcome: { code: null }, finding: expect.stringMatching(/` did not end in time$/) });
});
