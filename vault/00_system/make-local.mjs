/**
 * Makes the part of this vault that git does not have: inbox/, .env and 00_system/state.db.
 * What is there already stays. Plain Node, nothing to install; `node vault/00_system/make-local.mjs [VAULT]`.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const vault = resolve(process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url)));

const texts = {
  "inbox/call-the-plumber.md": "# Call the plumber\n\nThe kitchen tap. Tuesday, before ten.\n",
  "inbox/idea-printed-recovery-page.md":
    "# Idea: a printed recovery page\n\nOne page in the drawer: where the stores are, how to open one without this laptop.\nSee ../10_notes/restore-first.md.\n",
  "inbox/2026-11-20-meeting.md": "# Meeting, 20 November\n\n- the NAS moves to the cellar\n- who else knows where the copies are? nobody yet\n",
  ".env": "# Not a real secret: it shows that a local file of this kind comes back.\nVAULT_TOKEN=example-token-0000\nVAULT_MODE=local\n",
};

for (const [path, text] of Object.entries(texts)) make(path, (file) => writeFileSync(file, text));
const sqlite = await import("node:sqlite").catch(() => undefined);
if (sqlite === undefined) process.stdout.write("left out  00_system/state.db: this Node has no node:sqlite\n");
else make("00_system/state.db", (file) => fill(new sqlite.DatabaseSync(file)));

function make(path, write) {
  const file = join(vault, path);
  const isThere = existsSync(file);
  if (!isThere) {
    mkdirSync(join(file, ".."), { recursive: true });
    write(file);
  }
  process.stdout.write(`${isThere ? "there     " : "made      "}${path}\n`);
}

/** What was reviewed when: the kind of state that a workspace keeps and nobody commits. */
function fill(database) {
  database.exec("CREATE TABLE review (id INTEGER PRIMARY KEY, note TEXT NOT NULL, reviewed_at TEXT NOT NULL, verdict TEXT NOT NULL)");
  const insert = database.prepare("INSERT INTO review (note, reviewed_at, verdict) VALUES (?, ?, ?)");
  const notes = ["git-is-not-a-backup", "three-two-one", "rpo-and-rto", "restore-first"];
  for (let week = 0; week < 50; week += 1) {
    const day = new Date(Date.UTC(2026, 0, 5 + week * 7)).toISOString().slice(0, 10);
    insert.run(notes[week % notes.length], day, week % 5 === 0 ? "rewrite" : "keep");
  }
  database.close();
}
