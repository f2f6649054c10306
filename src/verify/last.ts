/** What the last verification of each store found, for `status`. A cache: without it none is known. */
import * as z from "zod";
import { readRemembered, remember } from "../state/remembered.ts";

const verificationSchema = z.object({
  store: z.string(),
  at: z.iso.datetime(),
  level: z.enum(["structure", "bytes", "content"]),
  points: z.int().nonnegative(),
  /** Artifacts that were read, and those that time was too short for. */
  read: z.int().nonnegative(),
  left: z.int().nonnegative(),
  /** Damage that was still there at its end, also what only earlier runs had read. */
  damaged: z.int().nonnegative(),
  /** Some of it shows only to those who look inside. */
  needsDecode: z.boolean().default(false),
});

export type Verification = z.infer<typeof verificationSchema>;

/** Newest last. */
export function readVerifications(file: string): Verification[] {
  return readRemembered(file, z.array(verificationSchema)) ?? [];
}

/** In place of what was known of the store. */
export function noteVerification(file: string, verification: Verification): void {
  const others = readVerifications(file).filter(({ store }) => store !== verification.store);
  remember(file, [...others, verification]);
}
