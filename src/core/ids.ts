/** Point ids: `20261121T143005Z-a1b2c3`. They sort by time, and those of one machine in the order they were made. */

export type PointId = string;

const shape = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z-([0-9a-f]{6})$/;
const suffixLimit = 0x1000000;

export function isPointId(text: string): text is PointId {
  if (!shape.test(text)) return false;
  const time = pointTime(text);
  // Not the 30th of February, nor 24:00: a store's ids are where new ones go on from.
  return !Number.isNaN(time.getTime()) && text.startsWith(stamp(time));
}

/**
 * A new id for `now`, later in sort order than `last` even when the clock stands still or went back.
 * `random` is an integer in [0, 2^24).
 */
export function newPointId(now: Date, random: number, last?: PointId): PointId {
  const id = `${stamp(now)}-${hex(random % suffixLimit)}`;
  if (last === undefined || id > last) return id;
  const next = Number.parseInt(last.slice(-6), 16) + 1 + (random % 4096);
  if (next < suffixLimit) return `${last.slice(0, -6)}${hex(next)}`;
  return `${stamp(new Date(pointTime(last).getTime() + 1000))}-${hex(random % suffixLimit)}`;
}

/** Of a repository: the UUID that all of its stores carry, in lower case. */
export function isRepositoryId(text: string): boolean {
  return /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(text);
}

/** The date folder of a point in every store: `20261121`. */
export function dayOf(id: PointId): string {
  return id.slice(0, 8);
}

/** The moment in the id, to the second, UTC. */
export function pointTime(id: PointId): Date {
  const match = shape.exec(id);
  if (match === null) throw new RangeError(`not a point id: ${id}`);
  const [, year, month, day, hour, minute, second] = match;
  return new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

function stamp(now: Date): string {
  return now
    .toISOString()
    .replace(/\.\d+Z$/, "Z")
    .replace(/[-:]/g, "");
}

function hex(value: number): string {
  return value.toString(16).padStart(6, "0");
}
