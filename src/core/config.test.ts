import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Config, emptyConfig, type MirrorConfig, mirrorModes, mirrorOf, objectLockModes, parseConfig, type StoreConfig } from "./config.ts";
import { writeConfig } from "./config-text.ts";
import type { BackupError } from "./errors.ts";

/** Problems without the file's name: `LINE: what`. */
function problems(text: string): string[] {
  try {
    parseConfig(text, "backup.yaml");
  } catch (error) {
    expect(error).toMatchObject({ code: "config_invalid" });
    return ((error as BackupError).details["problems"] as string[]).map((problem) => problem.replace("backup.yaml:", ""));
  }
  return [];
}

const full = `# what and where
version: 1
stores:
  - name: disk
    url: /mnt/disk
  - name: hub
    url: branch:origin/holdfast/backup
mirrors:
  - origin
include: ["*.bin", models/]
exclude:
  - "*.iso"
`;

describe("backup.yaml", () => {
  test("is read", () => {
    expect(parseConfig(full, "backup.yaml")).toEqual({
      stores: [
        { name: "disk", url: "/mnt/disk" },
        { name: "hub", url: "branch:origin/holdfast/backup" },
      ],
      mirrors: [{ remote: "origin", mode: "branches-and-tags", keepDays: 90 }],
      include: ["*.bin", "models/"],
      exclude: ["*.iso"],
      encryption: null,
    });
  });

  test("has more to say of a branch store and of a mirror, where wanted", () => {
    const text = `stores:
  - {name: hub, url: "branch:origin", ref: refs/holdfast/backup, max_bytes: 1.5 GiB}
mirrors:
  - remote: shared
    mode: namespaced
    keep_days: forever
  - {remote: ours, mode: exact, keep_days: 7}
`;
    expect(parseConfig(text, "f")).toMatchObject({
      stores: [{ name: "hub", url: "branch:origin", ref: "refs/holdfast/backup", maxBytes: 1.5 * 1024 ** 3 }],
      mirrors: [
        { remote: "shared", mode: "namespaced", keepDays: null },
        { remote: "ours", mode: "exact", keepDays: 7 },
      ],
    });
  });

  test("may have Windows line ends, and a byte order mark", () => {
    expect(parseConfig(full.replaceAll("\n", "\r\n"), "f")).toEqual(parseConfig(full, "f"));
    expect(parseConfig(`\ufeff${full}`, "f")).toEqual(parseConfig(full, "f"));
  });

  test.each(["", "\n", "# only words\n", "---\n", "null\n", "~", "{}", "version: 1\nstores:\nmirrors: ~\ninclude: []\n"])(
    "may be as good as empty: %j",
    (text) => {
      expect(parseConfig(text, "f")).toEqual(emptyConfig);
    },
  );

  test("takes a text that looks like something else, when it is quoted", () => {
    expect(parseConfig('include: ["true", "1", "null", "#a", "- b"]', "f").include).toEqual(["true", "1", "null", "#a", "- b"]);
  });
});

describe("a mistake in backup.yaml", () => {
  test.each<[string, string, readonly (string | RegExp)[]]>([
    ["not settings", "hello\n", ["1: should be a list of settings such as `stores:`"]],
    ["a list at the top", "- a\n- b\n", ["1: should be a list of settings such as `stores:`"]],
    ["another version", "stores: []\nversion: 2\n", ["2: version should be 1"]],
    ["a version that is text", 'version: "1"\n', ["1: version should be 1"]],
    ["a setting by another name", "version: 1\nstore: []\n", ['2: unknown setting "store"; did you mean stores?']],
    [
      "a setting that nothing resembles",
      "x_y_z_w: 1\n",
      ['1: unknown setting "x_y_z_w"; there are version, stores, mirrors, include, exclude, encryption'],
    ],
    ["stores that are no list", "# x\nstores: /mnt\n", ["2: stores should be a list of `- name: …` with `url: …`"]],
    ["stores that are a map", "stores:\n  disk: /mnt\n", ["2: stores should be a list of `- name: …` with `url: …`"]],
    ["a store that is a text", "stores:\n  - /mnt\n", ["2: a store needs `name:` and `url:`"]],
    ["a store without a url", "stores:\n\n  - name: a\n", ["3: a store needs `name:` and `url:`"]],
    ["a store that is nothing", "stores:\n  -\n", [/^[12]: a store needs/]],
    ["a store with more in it", "stores:\n  - name: a\n    url: /a\n    ulr: /b\n", ['4: unknown setting "ulr"; did you mean url?']],
    ["a url that is a number", "stores:\n  - name: a\n    url: 12\n", ["3: url should be a text", "2: a store needs `name:` and `url:`"]],
    ["a url that is a list", "stores:\n  - name: a\n    url: [a]\n", ["3: url should be a text", "2: a store needs `name:` and `url:`"]],
    ["a url of no kind", "stores:\n  - name: a\n    url: ftp://x/y\n", [/^2: there is no kind of store called ftp/]],
    ["a name with a slash", "stores:\n  - name: a/b\n    url: /a\n", [/^2: a store's name has letters/]],
    ["one name twice", "stores:\n  - name: a\n    url: /a\n  - name: a\n    url: /b\n", ["4: two stores are called a"]],
    ["include that is a text", "include: '*.bin'\n", ["1: include should be a list"]],
    ["exclude that holds a number", "exclude:\n  - a\n  - 5\n", ["3: exclude should hold texts"]],
    ["an empty pattern", 'exclude:\n  - ""\n', ["2: exclude should hold texts"]],
    ["mirrors that hold a list", "mirrors:\n  - origin\n  - [b]\n", ["3: a mirror is a remote's name, a URL or a path, or has `remote:`"]],
    ["a mirror without a remote", "mirrors:\n  - origin\n  - mode: exact\n", ["3: a mirror needs `remote:`"]],
    ["a mirror twice", "mirrors:\n  - origin\n  - {remote: origin, mode: exact}\n", ["3: two mirrors are origin"]],
    ["a mode of another name", "mirrors:\n  - remote: a\n    mode: exat\n", ['3: unknown mode "exat"; did you mean exact?']],
    ["days that are none", "mirrors:\n  - remote: a\n    keep_days: 0\n", ["3: keep_days should be a number of days, or forever"]],
    ["a ref that is a branch's short name", "stores:\n  - name: a\n    url: branch:o\n    ref: backup\n", [/^4: ref should be a whole name/]],
    ["a ref for a folder", "stores:\n  - name: a\n    url: /a\n    ref: refs/x\n", ["4: ref is for branch stores"]],
    ["a size that is none", "stores:\n  - name: a\n    url: branch:o\n    max_bytes: 2 gigs\n", [/^4: max_bytes should be a size/]],
    ["a size of uploads that is none", "stores:\n  - name: a\n    url: s3://bucket\n    upload_limit: fast\n", [/^4: upload_limit should be a size/]],
    ["a word that is no flag", "stores:\n  - name: a\n    url: s3://bucket\n    encrypt: never\n", ["4: encrypt should be true or false"]],
    ["a lock for a folder", "stores:\n  - name: a\n    url: /a\n    object_lock_days: 3\n", ["4: object_lock_days is for S3 stores"]],
    [
      "a lock of no days",
      "stores:\n  - name: a\n    url: s3://bucket\n    object_lock_days: 0\n",
      ["4: object_lock_days should be a number, 1 or more"],
    ],
    [
      "a lock of another mode",
      "stores:\n  - name: a\n    url: s3://bucket\n    object_lock_days: 3\n    object_lock_mode: complience\n",
      ['5: unknown mode "complience"; did you mean compliance?'],
    ],
    [
      "a mode without a lock",
      "stores:\n  - name: a\n    url: s3://bucket\n    object_lock_mode: compliance\n",
      ["4: object_lock_mode needs object_lock_days"],
    ],
    ["encryption for nobody", "encryption:\n  recipients: []\n", ["2: encryption needs recipients: holdfast key new makes one"]],
    ["encryption without a list", "encryption: yes please\n", ["1: encryption should have `recipients:`"]],
    ["a secret key as a recipient", "encryption:\n  recipients: [AGE-SECRET-KEY-1X]\n", [/^2: this is a secret key/]],
    ["a recipient that is none", "encryption:\n  recipients: [me]\n", ['2: "me" is not a recipient of age: age1… or ssh-ed25519 …']],
    ["a setting twice", "version: 1\nstores: []\nmirrors: []\nstores: []\n", [/^4: Map keys must be unique/]],
    ["a field twice", "stores:\n  - name: a\n    url: /a\n    name: b\n", [/^4: Map keys must be unique/]],
    ["a tab for indent", "stores:\n\t- name: a\n", [/^2: /]],
    ["a quote without its end", 'version: 1\nexclude: ["a\n', [/^[23]: /]],
    ["two documents", "version: 1\n---\nversion: 1\n", [/^[23]: /]],
    ["a key that is a list", "? [a]\n: b\n", [/^1: unknown setting ""/]],
    ["a prototype's name", "__proto__: []\n", [/^1: unknown setting "__proto__"/]],
    ["a merge", "<<: {version: 1}\n", [/^1: unknown setting "<<"/]],
  ])("is named with its line: %s", (_, text, expected) => {
    for (const variant of [text, text.replaceAll("\n", "\r\n")]) {
      const found = problems(variant);
      expect(found.length).toBeGreaterThanOrEqual(expected.length);
      expected.forEach((each, index) => void (typeof each === "string" ? expect(found[index]).toBe(each) : expect(found[index]).toMatch(each)));
    }
  });

  test("hides no other: all are named at once", () => {
    expect(problems("version: 3\nstores: 5\nmirors: []\nexclude: [1]\n").map((problem) => problem.slice(0, 2))).toEqual(["1:", "2:", "3:", "4:"]);
  });

  test("may be an alias: it stands for nothing, and a bomb of them does not go off", () => {
    expect(problems("mirrors: &a [origin]\ninclude: *a\n")).toEqual(["2: include should be a list"]);
    expect(problems("include: *nowhere\n")).toHaveLength(1);
    const lines = Array.from({ length: 40 }, (_, index) => `  - &a${index + 1} [${Array.from({ length: 9 }, () => `*a${index}`).join(",")}]`);
    const started = performance.now();
    expect(problems(`include:\n  - &a0 x\n${lines.join("\n")}\n`)).toHaveLength(40);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test("property: any text at all is read or refused, never a crash", () => {
    const piece = fc.constantFrom(
      "stores:",
      "\n",
      "  ",
      "- ",
      "name: a",
      "url: /a",
      "&a",
      "*a",
      "!!map",
      "{",
      "}",
      "[",
      "]",
      "'",
      '"',
      "#",
      "|",
      ">",
      "? ",
      ": ",
      "---",
      "\t",
      "\r",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join("")),
          fc.string({ unit: "binary" }),
        ),
        (text) => {
          for (const problem of problems(text)) expect(problem).toMatch(/^\d+: ./s);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("writeConfig", () => {
  const line = fc.oneof(
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }),
    fc.string({ unit: "binary", minLength: 1, maxLength: 6 }),
    fc.constantFrom(
      "true",
      "No",
      "~",
      "null",
      "1",
      "1.5",
      "0x1f",
      ".inf",
      "-",
      "- a",
      "a:",
      "a: b",
      "a #b",
      "!x",
      "&x",
      "*x",
      "@x",
      "`x",
      "%x",
      "|",
      ">",
      "?",
      "---",
      "...",
      " a ",
      "a\nb",
      "\u0085",
      "\u2028",
      "\udcff",
      "2026-11-21",
      "<<",
      "y",
      "=",
    ),
  );
  const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,8}$/);
  const url = fc.oneof(
    fc.stringMatching(/^\/[a-zA-Z0-9 #:'"{}\\.-]{0,12}$/),
    fc.constantFrom("branch:origin", "branch:https://h/r.git#b", "C:\\backup", "relative", "./a", "~/b"),
  );
  const branchUrl = fc.constantFrom("branch:origin", "branch:https://h/r.git#b");
  const ref = fc.constantFrom("refs/holdfast/backup", "refs/heads/é");
  const branchStore = fc.record({ name, url: branchUrl, ref, maxBytes: fc.integer({ min: 1 }) }, { requiredKeys: ["name", "url"] });
  const s3Store = fc.record(
    {
      name,
      url: fc.constantFrom("s3://bucket/a/b?region=eu-1", "s3://b-1?endpoint=http://localhost:9000&path_style=true"),
      isPlain: fc.constant(true),
      isOffsite: fc.boolean(),
      uploadLimit: fc.integer({ min: 1 }),
      objectLock: fc.record({ days: fc.integer({ min: 1 }), mode: fc.constantFrom(...objectLockModes) }),
    },
    { requiredKeys: ["name", "url"] },
  );
  const store: fc.Arbitrary<StoreConfig> = fc.oneof(fc.record({ name, url }), branchStore, s3Store);
  const mirror: fc.Arbitrary<MirrorConfig> = fc.record({
    remote: line,
    mode: fc.constantFrom(...mirrorModes),
    keepDays: fc.option(fc.integer({ min: 1 }), { nil: null }),
  });
  const configs: fc.Arbitrary<Config> = fc.record({
    stores: fc.uniqueArray(store, { selector: (each) => each.name, maxLength: 4 }),
    mirrors: fc.uniqueArray(fc.oneof(line.map(mirrorOf), mirror), { selector: (each) => each.remote, maxLength: 4 }),
    include: fc.array(line, { maxLength: 4 }),
    exclude: fc.array(line, { maxLength: 4 }),
    encryption: fc.option(
      fc.record(
        { recipients: fc.array(fc.constantFrom("age1qqqq", "ssh-ed25519 AAAA+/= me@host"), { minLength: 1, maxLength: 3 }), identity: line },
        { requiredKeys: ["recipients"] },
      ),
      { nil: null },
    ),
  });

  test("property: is read as what was written", () => {
    fc.assert(
      fc.property(configs, (config) => {
        expect(parseConfig(writeConfig(config), "f")).toEqual(config);
      }),
      { numRuns: 300 },
    );
  });

  test("quotes what would be read as something else", () => {
    const mirrors = ["host:", "true", "1", "a: b", "plain/path"].map(mirrorOf);
    expect(parseConfig(writeConfig({ ...emptyConfig, mirrors }), "f").mirrors).toEqual(mirrors);
    expect(writeConfig({ ...emptyConfig, mirrors })).toContain("  - plain/path\n");
  });

  test("leaves no setting unsaid, with a word on each", () => {
    expect(writeConfig(emptyConfig)).toMatch(/version: 1\n[\s\S]*stores: \[\]\n[\s\S]*mirrors: \[\]\n[\s\S]*include: \[\]\n[\s\S]*exclude: \[\]\n$/);
  });
});
