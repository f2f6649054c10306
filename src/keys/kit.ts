/** The recovery kit: one page to print, with the key and every command that brings the repository back. Pure. */
import { shellWord } from "../core/words.ts";

export interface Kit {
  /** The protected folder's name. */
  readonly name: string;
  /** The id that its stores carry; undefined before the first store. */
  readonly repository: string | undefined;
  readonly made: Date;
  /** Newest first. `recipient` is undefined where the key is no age key of its own kind. */
  readonly keys: readonly { readonly secret: string; readonly recipient: string | undefined }[];
  readonly stores: readonly KitStore[];
}

export interface KitStore {
  readonly name: string;
  /** Without credentials. */
  readonly address: string;
  /** Shell commands that bring the store into the folder `store`; empty where it is a folder already. */
  readonly fetch: readonly string[];
  /** The folder with restore.sh in it, once it is fetched. */
  readonly folder: string;
}

/** A page that needs nothing from anywhere. `qr` gives the text as an SVG. */
export function renderKit(kit: Kit, qr: (text: string) => string): string {
  const [current, ...older] = kit.keys;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Recovery kit: ${escapeHtml(kit.name)}</title>
<style>${style}</style>
</head>
<body>
<h1>Recovery kit</h1>
<p class="lead">This sheet brings back <strong>${escapeHtml(kit.name)}</strong>. Whoever has it can read every backup: keep it on paper, away from the
computer, and delete the file that it was printed from.</p>
<table>
<tr><th>Repository</th><td>${escapeHtml(kit.name)}${kit.repository === undefined ? "" : ` <code>${escapeHtml(kit.repository)}</code>`}</td></tr>
<tr><th>Printed from</th><td>Holdfast, ${kit.made.toISOString().slice(0, 10)}</td></tr>
</table>
<h2>The key</h2>
${current === undefined ? "" : renderKey(current, qr)}
<h2>Where the backups are</h2>
<table>
${kit.stores.map(({ name, address }) => `<tr><th>${escapeHtml(name)}</th><td><code>${escapeHtml(address)}</code></td></tr>`).join("\n")}
</table>
<h2>Getting everything back</h2>
<ol>
<li>Put the key into a file <code>key.txt</code>: scan the code, or type it. Spaces and line ends between the groups do not belong to it.</li>
<li>With Holdfast, installed from its source as the README there says, from any one of the stores:
${commands(kit.stores.map(({ address }) => `holdfast recover ${shellWord(address)} NEW-FOLDER --identity key.txt`))}</li>
<li>Without it: install <code>git</code>, <code>tar</code>, <code>zstd</code> and <code>age</code> (age-encryption.org) with the system's package manager. Then, from any one of the stores:
${kit.stores.map((store) => byHand(store)).join("\n")}
<code>RECOVERY.md</code> beside it explains each step by hand.</li>
</ol>
${older.length === 0 ? "" : `<h2>Older keys</h2>\n<p>They open what was made before the key was changed.</p>\n${older.map((key) => renderKey(key, qr)).join("\n")}`}
</body>
</html>
`;
}

function renderKey({ secret, recipient }: Kit["keys"][number], qr: (text: string) => string): string {
  const isLong = secret.includes("\n");
  const text = isLong
    ? `<pre class="key">${escapeHtml(secret)}</pre>`
    : `<p class="key">${groups(secret)
        .map((group) => `<span>${escapeHtml(group)}</span>`)
        .join(" ")}</p>`;
  return `<div class="secret">
${qr(secret)}
<div>${text}
${recipient === undefined ? "" : `<p>Its recipient, which is no secret:<br><code>${escapeHtml(recipient)}</code></p>`}</div>
</div>`;
}

/** Behind its beginning in fours: what an eye can hold while fingers type. */
function groups(secret: string): string[] {
  const [, start = "", rest = ""] = /^(AGE-SECRET-KEY-1)?(.*)$/.exec(secret) ?? [];
  return [...(start === "" ? [] : [start]), ...(rest.match(/.{1,4}/g) ?? [])];
}

function byHand({ name, fetch, folder }: KitStore): string {
  return `<p>${escapeHtml(name)}:</p>${commands([...fetch, `sh ${shellWord(`${folder}/restore.sh`)} --identity key.txt latest NEW-FOLDER`])}`;
}

function commands(lines: readonly string[]): string {
  // A line of paper must not end amid an option: who types it would not know what belongs together.
  const options = (line: string): string => escapeHtml(line).replace(/(?<= )--[\w-]+/g, "<b>$&</b>");
  return `<pre>${lines.map(options).join("\n")}</pre>`;
}

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}

const style = `
body { font: 11pt/1.45 Georgia, serif; color: #111; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 20pt; margin: 0 0 .5rem; } h2 { font-size: 13pt; margin: 1.4rem 0 .4rem; border-bottom: 1px solid #888; }
.lead { border: 2px solid #111; padding: .6rem .8rem; }
table { border-collapse: collapse; } th { text-align: left; font-weight: normal; color: #555; padding: .1rem 1.2rem .1rem 0; vertical-align: top; white-space: nowrap; }
code, pre, .key { font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 9pt; overflow-wrap: anywhere; }
pre { background: #f3f3f3; padding: .5rem .7rem; white-space: pre-wrap; margin: .3rem 0 .6rem; }
pre b { font-weight: inherit; white-space: nowrap; }
.secret { display: flex; gap: 1.2rem; align-items: flex-start; break-inside: avoid; margin: .5rem 0; }
.secret svg { width: 42mm; height: 42mm; flex: none; }
p.key { font-size: 12pt; margin: 0 0 .6rem; } p.key span { display: inline-block; margin: 0 .45em .15em 0; }
li { margin-bottom: .5rem; }
@media print { body { margin: 0; max-width: none; } pre { border: 1px solid #bbb; background: none; } @page { margin: 16mm; } }
`;
