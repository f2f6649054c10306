/** `JSON.parse` for text from outside: undefined instead of a throw, so that the caller names what was broken. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
