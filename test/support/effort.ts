/**
 * How much of what could go on for ever: as the variable says, else the whole where everything is required (CI), else a
 * share of it, so that `npm test` stays short.
 */
export function effort(variable: string, whole: number, share: number): number {
  const asked = process.env[variable];
  if (asked !== undefined) return Number(asked);
  return process.env["HOLDFAST_REQUIRE_ALL"] === "1" ? whole : share;
}
