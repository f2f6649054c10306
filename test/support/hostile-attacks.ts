/** What is done to a store by somebody who can write to it: each attack changes some files, and their sums fit again. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { type Attack, type Forger, type Member, member, ofContents, ofFiles } from "./hostile-store.ts";
import { gitRepo } from "./repo.ts";

/** By what each of them is; `canary` is a folder that none may reach, `payload` a command that none may have run. */
export function hostileAttacks(canary: string, payload: string): Readonly<Record<string, Attack>> {
  const names = [
    "../canary/precious", "../../canary/new", "/etc/holdfast-hostile", `${canary}/new`, "a/../../../canary/new", "./a", "a//b", "..", ".", "",
    ".git", ".git/hooks/post-checkout", ".git/config", ".GIT/config", "git~1/config", ".g\u200cit/config", ".git/./config", "sub/.git/hooks/post-commit",
    "x\0y", "x\ny", "\u001b]0;title\u0007", "\u001b[2J", "-rf", "--force", "\\..\\x", "C:\\x", "con", "a".repeat(300), "\udcff", "untracked/way/in",
  ]; // biome-ignore format: a list
  const configs = [
    `[core]\n\tfsmonitor = "${payload}"\n`, `[core]\n\thooksPath = ${canary}\n\tsshCommand = "${payload}"\n\tpager = "${payload}"\n\teditor = "${payload}"\n`,
    `[filter "x"]\n\tsmudge = "${payload}"\n\tclean = "${payload}"\n\tprocess = "${payload}"\n\trequired = true\n`, `[diff "x"]\n\ttextconv = "${payload}"\n\tcommand = "${payload}"\n`,
    `[diff]\n\texternal = "${payload}"\n`, `[alias]\n\tstatus = "!${payload}"\n`, `[include]\n\tpath = ${canary}/config\n`, `[core]\n\tworktree = ${canary}\n`,
    `[remote "origin"]\n\turl = ext::sh -c "${payload}"\n\tuploadpack = "${payload}"\n\tvcs = ext\n\tproxy = x\n`, `[submodule "m"]\n\tupdate = "!${payload}"\n\turl = -x\n`,
    `[gpg]\n\tprogram = "${payload}"\n[commit]\n\tgpgSign = true\n`, `[credential]\n\thelper = "!${payload}"\n`, "[core\n\tbroken", "[x \"\u001b[2J\"]\n\ty = \u001b]0;t\u0007\n",
    `[core]\n\tattributesFile = ${canary}/precious\n\texcludesFile = /dev/zero\n`, `[extensions]\n\tworktreeConfig = true\n\tobjectFormat = sha256\n`, `[merge "x"]\n\tdriver = "${payload}"\n`,
  ]; // biome-ignore format: a list

  const anyName = (store: Forger): string => {
    const area = store.pick(areas);
    return area === "git" ? `git/${store.pick(gitNames)}` : `${area}/${store.pick([...names, ...gitNames.map((name) => `.git/${name}`)])}`;
  };

  const monitor = configs[0] ?? "";
  /** All that git asks of a repository. */
  const repositoryAt = (place: string): Member[] => [
    member(`${place}/HEAD`, "ref: refs/heads/main\n"),
    member(`${place}/objects/x`),
    member(`${place}/refs/x`),
    member(`${place}/config`, monitor),
  ];

  return {
    "a field of the manifest": (store) => {
      const id = store.pick(store.ids);
      const manifest = store.manifest(id);
      manifest[store.pick([...Object.keys(manifest), "more", "__proto__"])] = store.pick<unknown>([...values, ...store.ids]);
      store.writeManifest(id, manifest);
    },
    "a field of an artifact": (store) => {
      const id = store.pick(store.ids);
      const manifest = store.manifest(id);
      const artifact = store.pick(manifest["artifacts"] as Record<string, unknown>[]);
      artifact[store.pick(Object.keys(artifact))] = store.pick<unknown>([...values, `${id}.tar.zst`, `${id}.json`, "../../holdfast.json"]);
      store.writeManifest(id, manifest);
    },
    "a chain that goes round": (store) => {
      for (const id of store.ids)
        store.writeManifest(id, {
          ...store.manifest(id),
          base: store.pick(store.ids),
          full: store.pick(store.ids),
          step: store.below(3),
          level: store.below(3),
        });
    },
    "a field of a record": ofContents((records, store) => {
      for (let left = 1 + store.below(3); left > 0; left -= 1) {
        const record = store.pick(records);
        record[store.pick(Object.keys(record))] = store.pick<unknown>([...values, anyName(store), store.pick(refNames), store.pick(oids)]);
      }
    }),
    "names of entries": ofContents((records, store) => {
      for (let left = 4; left > 0; left -= 1) store.pick(records.filter(({ t }) => t === "file"))["path"] = anyName(store);
    }),
    "kinds of entries": ofContents((records, store) => {
      for (let left = 4; left > 0; left -= 1)
        Object.assign(store.pick(records.filter(({ t }) => t === "file")), {
          kind: store.pick(["file", "symlink", "hardlink", "folder"]),
          target: store.pick([...names, anyName(store)]),
        });
    }),
    "names of refs": ofContents((records, store) => {
      const known = records.find(({ t }) => t === "ref")?.["oid"] ?? oids[0];
      for (let left = 3; left > 0; left -= 1)
        records.push({
          t: "ref",
          name: store.pick(refNames),
          oid: store.pick([known, ...oids]),
          ...(store.random() < 0.3 ? { symref: store.pick([...refNames, "refs/heads/main"]) } : {}),
        });
    }),
    "refs that point to each other": ofContents((records) => {
      for (const [name, symref] of [
        ["a", "b"],
        ["b", "a"],
        ["c", "c"],
      ])
        records.push({ t: "ref", name: `refs/heads/${name}`, oid: oids[1], symref: `refs/heads/${symref}` });
    }),
    worktrees: ofContents((records, store) => {
      for (let left = 2; left > 0; left -= 1)
        records.push({
          t: "worktree",
          name: store.pick([...names, "linked", "..", "../../canary"]),
          path: store.pick(names),
          isBare: store.random() < 0.3,
          branch: store.pick([null, ...refNames]),
          oid: store.pick([null, ...oids.slice(0, 3)]),
        });
    }),
    "records out of order, twice, or not at all": ofContents((records, store) => {
      for (let left = 5; left > 0; left -= 1) records.splice(store.below(records.length), store.below(3), store.pick(records));
    }),
    "an entry of any name": ofFiles((store) => [member(anyName(store))]),
    "a file through a link": ofFiles((store) => {
      const area = store.pick(["untracked", "modified", "worktrees/linked/untracked"]);
      const link = member(`${area}/out`, "", {
        kind: "symlink",
        target: store.pick([canary, "../../canary", "/", "..", ".git", "../../../../ground/canary"]),
      });
      return [
        link,
        member(`${area}/out/${store.pick(["precious", "new", "hooks/post-checkout", "config"])}`),
        member(`${area}/out`, "", { kind: store.pick(["folder", "file"]) }),
      ];
    }),
    "a link in the git directory": ofFiles((store) => [
      member(`git/${store.pick(["hooks", "logs", "FETCH_HEAD", "info", "objects/info", "COMMIT_EDITMSG", "worktrees/linked"])}`, "", {
        kind: "symlink",
        target: store.pick([canary, `${canary}/precious`, "../../../canary", "../../../canary/precious"]),
      }),
      member(`git/${store.pick(["logs/HEAD", "info/exclude", "hooks/post-checkout"])}`),
    ]),
    "a hard link": ofFiles((store) => {
      const path = store.pick(["untracked/hard", "git/hard", "modified/a.txt"]);
      return [
        member(path, "", {
          kind: "hardlink",
          target: store.pick([
            `${canary}/precious`,
            "../../canary/precious",
            "untracked/../../canary/precious",
            "untracked/link",
            "git/config",
            anyName(store),
            path,
          ]),
        }),
        member(path),
      ];
    }),
    "settings that run commands": ofFiles((store) => [
      member(
        store.pick([
          "git/config",
          "git/config.worktree",
          "untracked/nested/.git/config",
          "untracked/nested/.git/config.worktree",
          "git/modules/m/config",
          "git/worktrees/linked/config.worktree",
        ]),
        store.pick(configs),
      ),
      member("git/info/attributes", "* filter=x diff=x merge=x\n"),
    ]),
    "settings behind a link, which leads elsewhere when it is moved": ofFiles((store) => [
      member("untracked/nested/.git/config", "", { kind: "symlink", target: "../evil" }),
      member("untracked/nested/.git/evil", "[core]\n\tfilemode = true\n"),
      member("untracked/nested/evil", store.pick(configs)),
    ]),
    "settings that take the place of others": ofFiles(() => [
      member("untracked/holdfast-restored/other/.git/config", "[core]\n\tfilemode = true\n"),
      member("untracked/other/.git/holdfast-restored", "", { kind: "symlink", target: join(canary, "home") }),
    ]),
    "a nested .git that leads to settings": ofFiles((store) => {
      const place = store.pick(["untracked/evil", "untracked/nested/.git/x", "git/info/x", "git/worktrees/linked/x", "modified/evil"]);
      const lead = place.replace(/^(?:untracked|modified)/, "..").replace(/^git/, "../.git");
      const link =
        store.random() < 0.5 ? member("untracked/n/.git", `gitdir: ${lead}\n`) : member("untracked/n/.git", "", { kind: "symlink", target: lead });
      return [...repositoryAt(place), link];
    }),
    "a repository within a git directory": ofFiles((store) =>
      repositoryAt(store.pick(["untracked/nested/.git/x/.git", "git/x/.git", "modified/n/.git", "untracked/n/.git/hooks/.git"])),
    ),
    "settings in the place of a folder": ofFiles(() => [...repositoryAt("untracked/n/.git"), member("folder/n/.git/config", monitor)]),
    "settings and hooks without an end": ofFiles((store) => [
      member(
        store.pick(["git/config", "git/config.worktree", "git/hooks", "git/hooks/x", "untracked/nested/.git/config", "git/modules/m/config"]),
        "",
        {
          kind: "symlink",
          target: store.pick(["/dev/zero", "/dev/tty", "/dev/stdin"]),
        },
      ),
    ]),
    "hooks that run commands": ofFiles((store) => {
      const hook = store.pick(["post-checkout", "post-index-change", "reference-transaction", "pre-commit", "post-commit", "fsmonitor-watchman"]);
      return [
        member(
          store.pick([
            `git/hooks/${hook}`,
            `git/Hooks/${hook}`,
            `untracked/nested/.git/hooks/${hook}`,
            `git/modules/m/hooks/${hook}`,
            `git/worktrees/linked/hooks/${hook}`,
          ]),
          `#!/bin/sh\n${payload}\n`,
        ),
      ];
    }),
    "an index": async (store) => {
      const hostile = store.pick(["../canary/precious", ".git/hooks/post-checkout", ".git/config", "/etc/x", "-x"]);
      using evil = gitRepo({ ["x".repeat(hostile.length)]: `#!/bin/sh\n${payload}\n` });
      const index = readFileSync(join(evil.path, ".git/index"));
      const body = Buffer.from(index.subarray(0, -20).toString("latin1").replace("x".repeat(hostile.length), hostile), "latin1");
      await ofFiles(() => [member("git/index", "", { body: Buffer.concat([body, createHash("sha1").update(body).digest()]) })])(store);
    },
    "a patch": ofFiles((store) => [
      member("patches/9/path", store.pick(["untracked/link", "modified/large.bin", "untracked/large.bin", anyName(store)])),
      member(
        "patches/9/steps",
        store.pick([
          "base 0 999999999999999\n",
          "data 0 4\n",
          "data 999999999999999 1\n",
          "base -1 1\n",
          "base 0 1",
          `${"base 0 200000\n".repeat(20)}`,
          "",
        ]),
      ),
      member("patches/9/data", "evil"),
    ]),
    "bytes of the tar": async (store) => {
      const id = store.pick(store.ids);
      const plain = await store.artifact(id, "tar.zst");
      if (plain !== undefined) store.writeArtifact(id, "tar.zst", flip(store, plain));
    },
    "headers of the tar": async (store) => {
      const id = store.pick(store.ids);
      const plain = await store.artifact(id, "tar.zst");
      if (plain === undefined) return;
      const changed = Buffer.from(plain);
      for (let left = 3; left > 0; left -= 1) {
        const at = 512 * store.below(changed.length / 512);
        const header = changed.subarray(at, at + 512);
        if (header.toString("latin1", 257, 262) !== "ustar") continue;
        const field = store.pick([
          [0, 100],
          [124, 12],
          [156, 1],
          [157, 100],
          [345, 155],
        ] as const);
        header.fill(0, field[0], field[0] + field[1]);
        header.write(
          store.pick([
            "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            "77777777777",
            "3",
            "4",
            "6",
            "x",
            "g",
            "L",
            "S",
            "../../canary/new",
            "/etc/x",
            "-1",
          ]),
          field[0],
          field[1],
          "latin1",
        );
        header.fill(0x20, 148, 156);
        header.write(
          `${header
            .reduce((sum, byte) => sum + byte, 0)
            .toString(8)
            .padStart(6, "0")}\0 `,
          148,
          "latin1",
        );
      }
      store.writeArtifact(id, "tar.zst", changed);
    },
    "a cut artifact": async (store) => {
      const id = store.pick(store.ids);
      const kind = store.pick(["tar.zst", "contents.zst", "bundle", "idx"]);
      const plain = await store.artifact(id, kind);
      if (plain !== undefined) store.writeArtifact(id, kind, plain.subarray(0, store.below(plain.length)));
    },
    "bytes of the bundle": async (store) => {
      const id = store.pick(store.ids);
      const kind = store.pick(["bundle", "idx"]);
      const plain = await store.artifact(id, kind);
      if (plain !== undefined) store.writeArtifact(id, kind, flip(store, plain));
    },
    "the header of the bundle": async (store) => {
      const id = store.pick(store.ids);
      const plain = await store.artifact(id, "bundle");
      if (plain === undefined) return;
      const line = store.pick([
        `${oids[0]} ../../x\n`,
        `-${oids[1]} x\n`,
        "@filter=blob:none\n",
        "@object-format=sha256\n",
        `${"x".repeat(100_000)}\n`,
        "\n",
        "\0\n",
      ]);
      const end = plain.indexOf("\n") + 1;
      store.writeArtifact(id, "bundle", Buffer.concat([plain.subarray(0, end), Buffer.from(line), plain.subarray(end)]));
    },
    "a pack that is another's": async (store) => {
      const [first = "", second = ""] = store.ids;
      const [one, two] = [await store.artifact(first, "bundle"), await store.artifact(second, "bundle")];
      if (one !== undefined && two !== undefined) store.writeArtifact(store.pick([first, second]), "bundle", store.pick([one, two]));
    },
    "a bomb": async (store) => {
      const id = store.pick(store.ids);
      const frame = zstdCompressSync(Buffer.alloc(4 << 20));
      const stored = Buffer.concat(Array.from({ length: 512 }, () => frame));
      const kind = store.pick(["tar.zst", "contents.zst"]);
      store.writeStored(id, kind, stored);
      const manifest = store.manifest(id);
      const artifact = (manifest["artifacts"] as { name: string; plainSize: number }[]).find(({ name }) => name.endsWith(kind));
      if (artifact !== undefined && store.random() < 0.7) artifact.plainSize = 2 ** 31;
      store.writeManifest(id, manifest);
    },
    "frames of zstd": (store) => {
      const id = store.pick(store.ids);
      const magic = Buffer.from("28b52ffd", "hex");
      store.writeStored(
        id,
        store.pick(["tar.zst", "contents.zst"]),
        Buffer.concat([magic, Buffer.from(Array.from({ length: 64 }, () => store.below(256)))]),
      );
    },
    "files that are no files": (store) => {
      const id = store.pick(store.ids);
      const key = store.pick([
        "holdfast.json",
        `${id.slice(0, 8)}/${id}.json`,
        `${id.slice(0, 8)}/${id}.contents.zst`,
        `${id.slice(0, 8)}/${id}.tar.zst`,
      ]);
      const what = store.pick(["/dev/zero", "fifo", join(canary, "precious"), "folder"]);
      if (what === "fifo") store.make(key, "mkfifo");
      else if (what === "folder") store.make(key, "mkdir");
      else store.link(key, what);
    },
    "other files": (store) => {
      store.write(
        "holdfast.json",
        store.pick(["", "{}", "[]", `{"format":99}`, `{"format":1,"repository":"../x","name":"\u001b[2J","created":"x"}`, "[".repeat(100_000)]),
      );
      store.write(
        store.pick(["x\ny", "20261121/x.json", "20261121/20261121T000000Z-ffffff.json", "99999999/99999999T999999Z-ffffff.json"]),
        store.pick(["{}", "", "null"]),
      );
    },
  };
}

const areas = [
  "untracked",
  "modified",
  "tracked",
  "folder",
  "git",
  "worktrees/linked/untracked",
  "worktrees/../untracked",
  "worktrees/x/git",
  "nowhere",
  "deleted",
  "times",
];
const gitNames = [
  "hooks/post-checkout", "config", "config.worktree", "objects/info/alternates", "refs/heads/evil", "packed-refs", "commondir", "gitdir", "HEAD", "index",
  "info/attributes", "info/exclude", "logs/HEAD", "FETCH_HEAD", "worktrees/linked/gitdir", "worktrees/linked/commondir", "worktrees/../../x", "modules/m/config",
  "modules/m/hooks/post-checkout", "Hooks/post-checkout", "holdfast-restored/config", "shallow", "description", "MERGE_HEAD", "sequencer/todo", "../hooks/x",
]; // biome-ignore format: a list
const refNames = [
  "refs/heads/../../../../canary/new", "refs/heads/-x", "--upload-pack=x", "HEAD", "refs/heads/x.lock", "refs/heads/.x", "refs//x", "../x", "refs/heads/\u001b[2J",
  "refs/heads/a b", "FETCH_HEAD", "config", "refs/heads/main/below", "refs/remotes/origin/HEAD", `refs/heads/${"x/".repeat(80)}x`, "refs/worktree/x", "refs/heads/@{-1}",
]; // biome-ignore format: a list
const oids = ["0".repeat(40), "f".repeat(40), "1".repeat(64), "-x", "HEAD"];

function flip(store: Forger, bytes: Buffer, times = 1 + store.below(8)): Buffer {
  const changed = Buffer.from(bytes);
  for (let left = times; left > 0 && changed.length > 0; left -= 1) changed[store.below(changed.length)] = store.below(256);
  return changed;
}

const values = [null, -1, 0, 1e308, 2 ** 53, "", "x", "../../x", "\u001b]0;title\u0007", [], {}, true, "20261121T143005Z-a1b2c3", "9".repeat(400)];
