/** Days, weeks, months and years of a moment in a time zone, as keys that are equal exactly within one period. Pure. */

/** Gives the date `2026-11-21` of a moment. Throws RangeError for a time zone that is not known here. */
export function dateIn(timeZone: string): (moment: Date) => string {
  if (timeZone === "UTC") return (moment) => moment.toISOString().slice(0, 10);
  const format = new Intl.DateTimeFormat("en-US", { timeZone, calendar: "gregory", year: "numeric", month: "2-digit", day: "2-digit" });
  return (moment) => {
    const [, month, day, year = ""] = /^(\d\d)\/(\d\d)\/(\d+)/.exec(format.format(moment)) ?? [];
    return `${year.padStart(4, "0")}-${month}-${day}`;
  };
}

export function isTimeZone(name: string): boolean {
  try {
    dateIn(name);
    return true;
  } catch {
    return false;
  }
}

/** `2026-W53`: ISO 8601, weeks from Monday; the days around New Year belong to the year that has their Thursday. */
export function weekOf(date: string): string {
  const day = new Date(`${date}T00:00:00Z`);
  const sinceMonday = (day.getUTCDay() + 6) % 7;
  const thursday = new Date(day.getTime() + (3 - sinceMonday) * dayMs);
  const year = thursday.getUTCFullYear();
  const week = 1 + Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * dayMs));
  return `${year}-W${String(week).padStart(2, "0")}`;
}

export const dayMs = 86_400_000;
