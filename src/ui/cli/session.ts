import { openApp } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { endSession, type SessionPlace, type SessionResult } from "../../tasks/session.ts";
import type { CommandContext } from "./context.ts";
import { count, path } from "./words.ts";

export async function session({ cwd, output, signal }: CommandContext, { wait }: { readonly wait?: string }): Promise<number> {
  if (wait !== undefined && !/^\d{1,5}$/.test(wait))
    throw new BackupError("usage", `--wait takes seconds: ${wait} is not`, { hint: "holdfast session --wait 30" });
  const result = await endSession(await openApp(cwd), { waitMs: wait === undefined ? undefined : Number(wait) * 1000, signal });
  output.line(oneLine(result));
  output.json({ ...result });
  return result.problems > 0 || result.places.some(({ state }) => state === "behind") ? exitCodes.partial : exitCodes.done;
}

/** One line: tools show no more of it. */
function oneLine({ point, isNew, problems, places }: SessionResult): string {
  const partial = problems === 0 ? "" : `, partial: ${count(problems, "problem")}`;
  const words = (["mirror", "copy"] as const).flatMap((kind) =>
    describePlaces(
      kind,
      places.filter((place) => place.kind === kind),
    ),
  );
  return [`${isNew ? "point" : "nothing changed since point"} ${point}${partial}`, ...words].join("; ");
}

function describePlaces(kind: SessionPlace["kind"], places: readonly SessionPlace[]): string[] {
  const others = places.filter(({ state }) => state !== "current");
  const current = places.length - others.length;
  const whole = kind === "mirror" ? `${count(current, "mirror")} with every tip` : `${count(current, "copy", "copies")} whole`;
  const words = others.map(({ name, state, message }) => `${path(name)} ${state}${message === null ? "" : ` (${message})`}`);
  return [...(current > 0 ? [whole] : []), ...words];
}
