import { expect, test } from "vitest";
import type { RemoteAnswer } from "../git/porcelain.ts";
import { parsePushed } from "../git/porcelain.ts";
import { explainFailure, explainRejection } from "./outcome.ts";

const answer = (stderr: string, isTimedOut = false): RemoteAnswer => ({ code: 128, stdout: "", stderr, isTimedOut });
const url = "https://me:s3cret@git.example/x.git";

test.each([
  ["fatal: unable to access 'https://git.example/x.git/': Could not resolve host: git.example", "the host was not found"],
  [
    "ssh: Could not resolve hostname h: Temporary failure in name resolution\nfatal: Could not read from remote repository.",
    "the host was not found",
  ],
  ["ssh: connect to host h port 22: Connection timed out\nfatal: Could not read from remote repository.", "the connection failed"],
  ["fatal: '/gone' does not appear to be a git repository\nfatal: Could not read from remote repository.", "there is no repository"],
  ["remote: Repository not found.\nfatal: repository 'https://git.example/x.git/' not found", "there is no repository"],
])("%s", (stderr, says) => {
  const failure = explainFailure(answer(stderr), url);
  expect(failure.status).toBe("unreachable");
  expect(failure.message).toContain(says);
  expect(JSON.stringify(failure)).not.toContain("s3cret");
});

test.each([
  ["git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository.", /no ssh key/, /ssh-add/],
  ["Host key verification failed.\nfatal: Could not read from remote repository.", /key is not known/, /known_hosts/],
  ["@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", /another key/, /ssh-keygen -R git\.example /],
  ["fatal: could not read Username for 'https://git.example': terminal prompts disabled", /user name and password/, /credential\.helper/],
  ["fatal: Authentication failed for 'https://git.example/x.git/'", /user name and password/, /credential\.helper/],
  ["fatal: unable to access 'https://git.example/x.git/': The requested URL returned error: 403", /not to write/, /right to push/],
  ["ERROR: The key you are authenticating with has been marked as read only.\nfatal: Could not read", /not to write/, /right to push/],
  ["remote: Permission to o/r.git denied to me.\nfatal: unable to access: The requested URL returned error: 403", /not to write/, /right to push/],
])("%s: not let in, with what to do", (stderr, says, hint) => {
  const failure = explainFailure(answer(stderr), url);
  expect(failure).toMatchObject({ status: "unauthorized", message: expect.stringMatching(says), hint: expect.stringMatching(hint) });
  expect(JSON.stringify(failure)).not.toContain("s3cret");
});

test.each([
  ["ssh://git@git.example:2222/x.git", '"[git.example]:2222"'],
  ["git@git.example:me/x.git", "git.example"],
  ["ssh://git.example/x.git", "git.example"],
])("the key of %s is looked up as %s", (address, host) => {
  expect(explainFailure(answer("REMOTE HOST IDENTIFICATION HAS CHANGED"), address).hint).toContain(`ssh-keygen -R ${host} `);
});

test("time that ran out, and words that nobody foresaw, are said", () => {
  expect(explainFailure(answer("", true), url).message).toBe("https://git.example/x.git did not answer in time");
  const strange = explainFailure(answer(`Writing objects: 3%\rWriting objects: 9%\nfatal: the moon at ${url} is full`), url);
  expect(strange.message).toContain("fatal: the moon at https://git.example/x.git is full");
  expect(explainFailure(answer(""), url).message).toContain("exit 128");
});

const porcelain = [
  "To /r.git",
  "*\trefs/heads/a:refs/heads/a\t[new branch]",
  " \trefs/heads/b:refs/heads/b\t1111111..2222222",
  "+\t3333333:refs/heads/c\t1111111...2222222 (forced update)",
  "-\t:refs/heads/d\t[deleted]",
  "!\trefs/heads/e:refs/heads/e\t[rejected] (stale info)",
  "!\trefs/heads/f:refs/heads/f\t[remote rejected] (pre-receive hook declined)",
  "Done",
].join("\n");

test("the porcelain of a push is read ref by ref", () => {
  const pushed = parsePushed(porcelain);
  expect([...pushed].filter(([, ref]) => ref.isOk).map(([ref]) => ref.slice(-1))).toEqual(["a", "b", "c", "d"]);
  expect(pushed.get("refs/heads/e")).toEqual({ isOk: false, reason: "stale info" });
  expect(pushed.get("refs/heads/f")).toEqual({ isOk: false, reason: "pre-receive hook declined" });
});

test("a rejection carries the words of the remote's hook", () => {
  const pushed = parsePushed(porcelain).get("refs/heads/f");
  const stderr = "remote: Resolving deltas: 100%\rremote: error: GH006: Protected branch update failed\nerror: failed to push";
  const { note, hint } = explainRejection("refs/heads/f", pushed, stderr);
  expect(note).toContain("pre-receive hook declined");
  expect(note).toContain("GH006");
  expect(hint).toContain("allow force-pushes");
});

test.each([
  ["deletion of the current branch prohibited", "symbolic-ref HEAD"],
  ["deny updating a hidden ref", "branches-and-tags"],
  ["non-fast-forward", "allow force-pushes"],
  ["hook declined", "ask the remote's owner"],
])("refused because of %j: %s", (reason, hint) => {
  expect(explainRejection("refs/heads/x", { isOk: false, reason }, "").hint).toContain(hint);
});
