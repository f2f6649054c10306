/** Configuration as git lists it, and its files as git reads them where there is no git to ask. Pure. */

export interface ConfigSetting {
  /** As `git config --list` prints it: section and name in lower case, the subsection as it stands. */
  readonly key: string;
  /** Undefined: a name without a value, which git takes for true. */
  readonly value: string | undefined;
}

/** The output of `git config -z` with `--list` or `--get-regexp`, in its order. */
export function parseSettings(output: string): ConfigSetting[] {
  const items = output.split("\0").filter((item) => item !== "");
  return items.map((item) => {
    const line = item.indexOf("\n");
    return line === -1 ? { key: item, value: undefined } : { key: item.slice(0, line), value: item.slice(line + 1) };
  });
}

/**
 * The settings of a file in their order; includes are not followed. Strict: what is not surely understood is not read.
 * Undefined where git would call the file bad, and for names above the first section, which no git writes.
 * (git-config(1), "Syntax")
 */
export function parseConfigText(text: string): ConfigSetting[] | undefined {
  if (text.includes("\0")) return undefined;
  const reader = new Reader(text.replace(/^(?:\u{feff}|\u00ef\u00bb\u00bf)/u, "").replaceAll("\r\n", "\n"));
  const settings: ConfigSetting[] = [];
  let section: string | undefined;
  for (;;) {
    reader.skip(/\s*/y);
    if (reader.isAtEnd) return settings;
    if (reader.skip(/[#;][^\n]*/y) !== undefined) continue;
    const heading = reader.take(/\[([A-Za-z0-9.-]+)\]/y) ?? reader.take(/\[([A-Za-z0-9.-]+)[ \t]+"((?:[^"\\\n]|\\[^\n])*)"\]/y);
    if (heading !== undefined) {
      const [name = "", subsection] = heading;
      section = `${name.toLowerCase()}${subsection === undefined ? "" : `.${subsection.replace(/\\(.)/g, "$1")}`}`;
      continue;
    }
    const name = reader.take(/([A-Za-z][A-Za-z0-9-]*)[ \t]*/y)?.[0];
    if (name === undefined || section === undefined) return undefined;
    const key = `${section}.${name.toLowerCase()}`;
    if (reader.skip(/\n|$/y) !== undefined) settings.push({ key, value: undefined });
    else {
      const value = reader.skip(/=/y) === undefined ? undefined : readValue(reader);
      if (value === undefined) return undefined;
      settings.push({ key, value });
    }
  }
}

/** True for a file as git writes it: one setting a line, nothing quoted. Every git reads such a file alike. */
export function isPlainConfig(text: string): boolean {
  return text.split("\n").every((line) => plainLine.test(line));
}

const plainLine = /^(?:\[[A-Za-z0-9-]+(?: "[^"\\]*")?\]|\t[A-Za-z][A-Za-z0-9-]* = [^\s"\\#;]+(?: [^\s"\\#;]+)*|)$/;

const escapes: Readonly<Record<string, string>> = { "\\": "\\", '"': '"', n: "\n", t: "\t", b: "\b", "\n": "" };

/** To the end of the line, which is taken too. Whitespace around it, and a comment after it, do not belong to it. */
function readValue(reader: Reader): string | undefined {
  reader.skip(/[^\S\n]*/y);
  let value = "";
  let space = "";
  let isQuoted = false;
  for (;;) {
    const char = reader.next();
    if (char === "\n" || char === undefined) return isQuoted ? undefined : value;
    if (!isQuoted && (char === "#" || char === ";")) {
      reader.skip(/[^\n]*/y);
      continue;
    }
    if (!isQuoted && /\s/.test(char)) {
      // Before a value, after an empty quoted part for example, it does not count.
      if (value !== "") space += char;
      continue;
    }
    if (char === '"') {
      isQuoted = !isQuoted;
      continue;
    }
    const meant = char === "\\" ? escapes[reader.next() ?? ""] : char;
    if (meant === undefined) return undefined;
    if (meant === "" && char === "\\") continue;
    value += space + meant;
    space = "";
  }
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  next(): string | undefined {
    const char = this.#text[this.#at];
    this.#at += 1;
    return char;
  }

  /** The groups of a sticky expression that fits here, after which reading goes on. */
  take(pattern: RegExp): string[] | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#at += match[0].length;
    return match.slice(1);
  }

  skip(pattern: RegExp): true | undefined {
    return this.take(pattern) === undefined ? undefined : true;
  }
}
