/** `retention:` and its short form `retention_days:` in backup.yaml, read and written. Pure. */
import { isScalar, type Node } from "yaml";
import { dayMs, isTimeZone } from "./calendar.ts";
import { type Complain, type Fields, readNumber, readSection, readText } from "./config-nodes.ts";
import { type Count, defaultRetention, isEmptyPolicy, type RetentionPolicy } from "./retention.ts";

const counts = { keep_last: "last", keep_daily: "daily", keep_weekly: "weekly", keep_monthly: "monthly", keep_yearly: "yearly" } as const;
const countNames = Object.keys(counts) as (keyof typeof counts)[];
const rules = [...countNames, "keep_within"];

/** A rule that is not named keeps its default; with `retention_days` that is the only rule. */
export function readRetention(section: Node | null, days: Node | null | undefined, complain: Complain): RetentionPolicy {
  const what = "retention should have rules such as `keep_daily: 7`";
  const fields: Fields = readSection(section, what, [...rules, "time_zone", "trash_days"], complain) ?? new Map();
  const policy: { -readonly [Key in keyof RetentionPolicy]: RetentionPolicy[Key] } = { ...defaultRetention };
  if (days !== undefined) {
    for (const name of rules) if (fields.has(name)) complain(fields.get(name), `${name} and retention_days exclude each other`);
    const ofDays = readNumber(new Map([["retention_days", days as Node]]), "retention_days", 1, complain);
    Object.assign(policy, { last: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, withinMs: (ofDays ?? 1) * dayMs });
  } else {
    for (const name of countNames) policy[counts[name]] = readCount(fields, name, complain) ?? policy[counts[name]];
    policy.withinMs = readSpan(fields, "keep_within", complain) ?? policy.withinMs;
  }
  const zone = readText(fields, "time_zone", complain);
  if (zone !== undefined && !isTimeZone(zone)) complain(fields.get("time_zone"), `time_zone should be a name such as Europe/Zurich: ${zone} is none`);
  else policy.timeZone = zone ?? policy.timeZone;
  policy.trashDays = readNumber(fields, "trash_days", 0, complain) ?? policy.trashDays;
  if (isEmptyPolicy(policy)) complain(section, "retention would keep nothing: give one rule a number");
  return policy;
}

/** The lines that say it; nothing for the default. */
export function writeRetention(policy: RetentionPolicy): string {
  const days = policy.withinMs / dayMs;
  const isOfDays = countNames.every((name) => policy[counts[name]] === 0) && Number.isInteger(days);
  const lines: string[] = [];
  if (!isOfDays) {
    for (const name of countNames) if (policy[counts[name]] !== defaultRetention[counts[name]]) lines.push(`${name}: ${policy[counts[name]]}`);
    if (policy.withinMs !== defaultRetention.withinMs) lines.push(`keep_within: ${writeSpan(policy.withinMs)}`);
  }
  if (policy.timeZone !== defaultRetention.timeZone) lines.push(`time_zone: ${policy.timeZone}`);
  if (policy.trashDays !== defaultRetention.trashDays) lines.push(`trash_days: ${policy.trashDays}`);
  const short = isOfDays ? `retention_days: ${days}\n` : "";
  const section = lines.length === 0 ? "" : `retention:\n${lines.map((line) => `  ${line}\n`).join("")}`;
  return short + section === ""
    ? ""
    : `\n# Which points stay. What is not said: all of 48 hours, then 7 daily, 4 weekly, 12 monthly.\n${short}${section}`;
}

function readCount(fields: Fields, name: string, complain: Complain): Count | undefined {
  const node = fields.get(name);
  const value = isScalar(node) ? node.value : undefined;
  if (node === undefined || value === "unlimited") return value as "unlimited" | undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  complain(node, `${name} should be a number, 0 or more, or unlimited`);
  return undefined;
}

const units = { h: 3_600_000, d: dayMs, w: 7 * dayMs } as const;

function readSpan(fields: Fields, name: string, complain: Complain): number | undefined {
  const node = fields.get(name);
  if (node === undefined) return undefined;
  const text = String(isScalar(node) ? node.value : "");
  const [, number, unit = "h"] = /^(\d{1,5})(?:(h|d|w))$/.exec(text) ?? (text === "0" ? ["", "0"] : []);
  if (number !== undefined) return Number(number) * units[unit as keyof typeof units];
  complain(node, `${name} should be hours, days or weeks, such as 48h, 14d or 4w`);
  return undefined;
}

function writeSpan(ms: number): string {
  return ms % dayMs === 0 && ms > 2 * dayMs ? `${ms / dayMs}d` : `${ms / units.h}h`;
}
