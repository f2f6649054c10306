/** What a frozen sample remembers of a repository, as JSON: files, refs, HEAD, index, reflog. Nothing that another git words otherwise. */
import { repositoryState } from "./repository-state.ts";

export function frozenState(root: string): unknown {
  const { tree, head, refs, index, reflog } = repositoryState(root);
  return JSON.parse(JSON.stringify({ tree, head, refs, index, reflog }, (_, value) => (typeof value === "bigint" ? String(value) : value)));
}
