/** Counts of the accident suite: said where they were made, and added up by `npm run accidents`. */
import { appendFileSync } from "node:fs";

export interface AccidentCount {
  readonly what: string;
  readonly accidents: number;
  /** That were looked at after them: there, with all their files; many of them restored, or read to their end. */
  readonly points: number;
}

/** Call it at the end of a test that fails where a point is lost, or where a run needs a hand: so what is counted lost none. */
export function countAccidents(count: AccidentCount): void {
  console.log(`${count.accidents} ${count.what}: ${count.points} points afterwards, none lost`);
  const record = process.env["HOLDFAST_ACCIDENTS_RECORD"];
  if (record !== undefined) appendFileSync(record, `${JSON.stringify(count)}\n`);
}
