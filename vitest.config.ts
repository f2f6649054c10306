import { readFileSync } from "node:fs";
import { defineConfig } from "vitest/config";

const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as { version: string };

export default defineConfig({
  define: { __VERSION__: JSON.stringify(version) },
  test: {
    globals: false,
    pool: "forks",
    setupFiles: ["test/support/environment.ts"],
    // What is waited for comes sooner or later: a busy machine fails no test.
    expect: { poll: { timeout: 60_000 } },
    projects: [
      {
        extends: true,
        test: { name: "fast", include: ["src/**/*.test.ts", "test/support/**/*.test.ts"], exclude: ["**/*.slow.test.ts"], testTimeout: 60_000 },
      },
      {
        extends: true,
        test: {
          name: "slow",
          include: ["test/**/*.test.ts", "src/**/*.slow.test.ts"],
          exclude: ["test/support/**"],
          globalSetup: ["test/support/build.ts", "test/support/servers.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
