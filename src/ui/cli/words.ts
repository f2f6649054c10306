/** Sizes, ages and paths in words for people. */
import { printablePath } from "../../core/paths.ts";
import { thousands } from "../../core/words.ts";
import type { Beyond, Withheld } from "../../replicate/copy-state.ts";

export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** As the clock here showed it: "2026-11-21 14:30:05". */
export function localTime(moment: Date): string {
  const two = (number: number): string => String(number).padStart(2, "0");
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
  return `${day} ${[moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":")}`;
}

/** "just now", "3 minutes ago", "2 days ago". */
export function age(moment: Date, now: Date): string {
  const seconds = Math.round((now.getTime() - moment.getTime()) / 1000);
  if (seconds < 0) return "in the future";
  if (seconds < 10) return "just now";
  const [count, unit] =
    seconds < 90
      ? [seconds, "second"]
      : seconds < 5400
        ? [Math.round(seconds / 60), "minute"]
        : seconds < 129_600
          ? [Math.round(seconds / 3600), "hour"]
          : [Math.round(seconds / 86_400), "day"];
  return `${count} ${unit}${count === 1 ? "" : "s"} ago`;
}

/** How long: "240 ms", "1.4 s", "3 minutes", "2 days". */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 90_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = ms / 60_000;
  if (minutes < 90) return count(Math.round(minutes), "minute");
  return minutes < 2160 ? count(Math.round(minutes / 60), "hour") : count(Math.round(minutes / 1440), "day");
}

export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${thousands(number)} ${number === 1 ? noun : plural}`;
}

/** "12 older points do not fit into 2.0 GiB". */
export function beyondBudget({ points, maxBytes, hasNewest }: Beyond): string {
  const which = hasNewest ? count(points, "older point") : points === 1 ? "the newest point" : `${count(points, "point")}, the newest among them,`;
  return `${which} ${points === 1 ? "does" : "do"} not fit into ${bytes(maxBytes)}`;
}

/** "12 older points are not encrypted and stay here". */
export function stayHere({ points, hasNewest }: Withheld): string {
  const which = hasNewest ? count(points, "older point") : points === 1 ? "the newest point" : `${count(points, "point")}, the newest among them,`;
  return `${which} ${points === 1 ? "is not encrypted and stays" : "are not encrypted and stay"} here`;
}

export function path(text: string): string {
  return printablePath(text);
}

/** Columns, two spaces apart; the last one is not padded. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row
      .map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
