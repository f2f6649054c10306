import { isAbsolute, join } from "node:path";
import { type App, openApp } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { addRecipient, newKey, openKeySettings, type RecipientsChange, refuseInside, rotateKey, viewKeys } from "../../tasks/keys.ts";
import { describePoint } from "./backup.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption } from "./identity.ts";
import { count } from "./words.ts";

interface KeyOptions extends IdentityOption {
  readonly passphrase?: boolean;
  readonly output?: string;
  readonly secret?: boolean;
  readonly rewrap?: boolean;
}

const actions = "new|show|kit|add-recipient|rotate|rewrap|trust";

/** `key new`, `key show`, `key kit`, `key add-recipient RECIPIENT`, `key rotate`, `key rewrap`, `key trust [FINGERPRINT]`. */
export async function key(context: CommandContext, options: KeyOptions, action = "", name?: string): Promise<number> {
  switch (action) {
    case "new":
      return make(context, options);
    case "show":
      return show(context, options);
    case "kit":
      return kit(context, options);
    case "add-recipient":
      return add(context, options, name);
    case "rotate":
      return rotate(context, options);
    case "rewrap":
      return rewrap(context, await openApp(context.cwd, environmentWith(options, context.cwd)), {});
    case "trust":
      return (await import("./key-trust.ts")).keyTrust(context, name);
    default:
      throw new BackupError("usage", `there is no key ${action}`, { hint: `holdfast key ${actions}` });
  }
}

async function make({ cwd, output }: CommandContext, options: KeyOptions): Promise<number> {
  const { settings, app } = await openKeySettings(cwd, environmentWith(options, cwd));
  const wish = outputFile(cwd, options);
  if (app !== undefined && wish !== undefined) refuseInside(app, wish);
  const { file, recipient } = await newKey(settings, wish, options.passphrase === true);
  output.line(`The key lies in ${file}; without it nothing that is encrypted for it opens.`);
  output.line(`  recipient  ${recipient}`);
  output.line("Keep a copy of it elsewhere: holdfast key kit prints one page with all that a restore needs.");
  if (app !== undefined && app.config.encryption === null) output.line("To encrypt this repository's points: holdfast init --yes --encrypt");
  output.json({ file, recipient });
  return exitCodes.done;
}

async function show({ cwd, output }: CommandContext, options: KeyOptions): Promise<number> {
  const { settings, app } = await openKeySettings(cwd, environmentWith(options, cwd));
  const view = await viewKeys(settings, app, options.secret === true);
  const { path, from, state, own, recipients, secret } = view;
  if (secret !== undefined && !output.isJson) {
    output.line(secret.trimEnd());
    return exitCodes.done;
  }
  const states = { here: "", protected: ", protected by a passphrase", missing: ", which is not there" };
  output.line(`key         ${path}${from === "default" ? "" : ` (by ${from})`}${states[state]}`);
  for (const recipient of own ?? []) output.line(`  opens     ${recipient}`);
  if (app !== undefined) {
    for (const recipient of recipients)
      output.line(`points for  ${recipient}${own?.includes(recipient) === false ? "  (the key for it is not in this file)" : ""}`);
    if (recipients.length === 0) output.line("points for  nobody: they are not encrypted");
  }
  if (view.isOpenToOthers && state === "here") output.warn(`other users of this machine can read the key; to close it: chmod 600 ${path}`);
  output.json({ key: view });
  return exitCodes.done;
}

async function kit({ cwd, output }: CommandContext, options: KeyOptions): Promise<number> {
  const app = await openApp(cwd, environmentWith(options, cwd));
  const { writeKit } = await import("../../tasks/kit.ts");
  const file = await writeKit(app, outputFile(cwd, options));
  output.line(`Recovery kit: ${file}`);
  output.line("Print it, keep it away from this machine, and delete the file: whoever has it can read every point.");
  output.json({ file });
  return exitCodes.done;
}

async function add(context: CommandContext, options: KeyOptions, recipient: string | undefined): Promise<number> {
  const { cwd, output, signal } = context;
  if (recipient === undefined) throw new BackupError("usage", "which recipient?", { hint: "holdfast key add-recipient age1…" });
  const app = await openApp(cwd, environmentWith(options, cwd));
  const change = await addRecipient(app, recipient, { isRewrapAsked: options.rewrap === true, signal });
  report(context, change);
  if (options.rewrap === true) return rewrap(context, await openApp(cwd, app.environment), { ...change });
  output.line("Older points stay as they are; to encrypt them for it too: holdfast key rewrap");
  output.json({ ...change });
  return exitCodes.done;
}

async function rotate(context: CommandContext, options: KeyOptions): Promise<number> {
  const { cwd, output, signal } = context;
  const app = await openApp(cwd, environmentWith(options, cwd));
  const change = await rotateKey(app, { isRewrapAsked: options.rewrap === true, signal });
  output.line(
    `The new key is in ${change.file}, after the old ones, which open older points. The old printed sheet opens no new point: holdfast key kit`,
  );
  report(context, change);
  if (change.kept.length > 0) output.line(`Also for ${change.kept.join(", ")}; who shall no longer read: take it out of ${app.configFile.path}`);
  if (options.rewrap === true) return rewrap(context, await openApp(cwd, app.environment), { ...change });
  output.line("Whoever has an old key still opens older points; to encrypt them for the new one alone: holdfast key rewrap");
  output.json({ ...change });
  return exitCodes.done;
}

function report({ output }: CommandContext, { recipients, point }: RecipientsChange): void {
  output.line(`Points are for ${count(recipients.length, "recipient")} from now on.`);
  output.line(describePoint(point));
}

async function rewrap({ output, signal }: CommandContext, app: App, before: Readonly<Record<string, unknown>>): Promise<number> {
  const { rewrapAll } = await import("../../tasks/rewrap.ts");
  const result = await rewrapAll(app, {
    signal,
    onProgress: (done, total) => output.progress(`encrypting again: ${done} of ${count(total, "point")}`),
  });
  output.line(`Encrypted again: ${count(result.points, "point")}. The next sync brings them to the copies.`);
  for (const { id, message } of result.damaged) output.warn(`point ${id} stays as it is: ${message}`);
  if (result.kept.length > 0) output.warn(`${count(result.kept.length, "old artifact")} could not be deleted, and can still be read with an old key`);
  for (const { store, points } of result.beyond) {
    if (points === null) output.warn(`the store ${store} was not looked at: what only it has stays for the old keys`);
    else output.warn(`the store ${store}: ${count(points, "point")} in its trash, or not in the primary store, stay for the old keys`);
  }
  output.json({ ...before, rewrapped: result });
  return result.damaged.length + result.kept.length + result.beyond.length === 0 ? exitCodes.done : exitCodes.partial;
}

function outputFile(cwd: string, { output }: KeyOptions): string | undefined {
  return output === undefined || isAbsolute(output) ? output : join(cwd, output);
}
