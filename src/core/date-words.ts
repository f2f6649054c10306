/** Dates as people write them, for machines without git, which reads many more forms. Pure. */

const seconds: Readonly<Record<string, number>> = { second: 1, minute: 60, hour: 3600 };
const times: Readonly<Record<string, string>> = { midnight: "0:00", noon: "12:00", tea: "17:00" };

/**
 * `2026-11-21`, `2026-11-21 14:30[:05]` (also with a zone), `now`, `14:30`, `today|yesterday [14:30|noon]`, `2 hours ago`, `3 weeks ago 9:00`.
 * In the machine's time zone where none is named; a day without a time is its midnight. Undefined for anything else.
 */
export function parseDateWords(text: string, now: Date): Date | undefined {
  const words = text.trim().toLowerCase().replace(/\s+/g, " ");
  const iso = /^(\d{4}-\d\d-\d\d)(?:[ t](\d\d?:\d\d(?::\d\d(?:\.\d+)?)?) ?(z|utc|[+-]\d\d:?\d\d)?)?$/.exec(words);
  if (iso !== null) return isoDate(iso[1] ?? "", iso[2] ?? "00:00", iso[3]);
  if (words === "now") return now;
  const ago = /^(\d{1,6}|an?|one) (second|minute|hour|day|week|month|year)s? ago(?: (?:at )?(.+))?$/.exec(words);
  if (ago !== null) {
    const moment = before(now, /^\d/.test(ago[1] ?? "") ? Number(ago[1]) : 1, ago[2] ?? "");
    return ago[3] === undefined ? moment : atTime(moment, ago[3]);
  }
  const day = /^(today|yesterday)?(?: ?(?:at )?(.+))?$/.exec(words);
  if (day === null || words === "") return undefined;
  const moment = day[1] === "yesterday" ? before(now, 1, "day") : now;
  return atTime(moment, day[2] ?? "midnight");
}

function isoDate(day: string, time: string, zone: string | undefined): Date | undefined {
  const named = zone === undefined ? "" : /^[+-]/.test(zone) ? zone.replace(/^(...):?/, "$1:") : "Z";
  const moment = new Date(`${day}T${time.padStart(time.indexOf(":") === 1 ? time.length + 1 : time.length, "0")}${named}`);
  const isMoment = !Number.isNaN(moment.getTime()) && isDay(day);
  return isMoment ? moment : undefined;
}

/** The 30th of February is nobody's day; `Date` would make it the 2nd of March. */
function isDay(day: string): boolean {
  const date = new Date(`${day}T00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day);
}

/** Months and years by the calendar, everything else by the clock. */
function before(now: Date, count: number, unit: string): Date {
  const moment = new Date(now);
  if (unit === "month") moment.setMonth(moment.getMonth() - count);
  else if (unit === "year") moment.setFullYear(moment.getFullYear() - count);
  else if (unit === "day" || unit === "week") moment.setDate(moment.getDate() - count * (unit === "week" ? 7 : 1));
  else moment.setTime(moment.getTime() - count * (seconds[unit] ?? 0) * 1000);
  return moment;
}

function atTime(day: Date, text: string): Date | undefined {
  const match = /^(\d\d?):(\d\d)(?::(\d\d))?$/.exec(times[text] ?? text);
  if (match === null) return undefined;
  const [hour, minute, second] = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const moment = new Date(day);
  moment.setHours(hour, minute, second, 0);
  return moment;
}
