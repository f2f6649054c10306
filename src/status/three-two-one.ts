/**
 * 3-2-1: three copies, on two kinds of medium, one of them elsewhere. Counted from what was read back, never from settings. Pure.
 *
 * A *place* is a store that holds the newest points and was seen to: the primary, while it can be read, and every copy that is whole.
 * The repository itself is none: it is what is being protected.
 */
export interface Place {
  /** Two places on one medium can be lost by one mishap: a disk, a git host, a bucket. */
  readonly medium: string;
  readonly isOffsite: boolean;
}

export interface ThreeTwoOne {
  readonly copies: number;
  readonly media: number;
  readonly offsite: number;
  readonly isMet: boolean;
}

export function countPlaces(places: readonly Place[]): ThreeTwoOne {
  const copies = places.length;
  const media = new Set(places.map(({ medium }) => medium)).size;
  const offsite = places.filter(({ isOffsite }) => isOffsite).length;
  return { copies, media, offsite, isMet: copies >= 3 && media >= 2 && offsite >= 1 };
}

/** "2 of 3 copies, 1 of 2 media, none elsewhere". */
export function describeThreeTwoOne({ copies, media, offsite, isMet }: ThreeTwoOne): string {
  const words = [
    copies >= 3 ? `${copies} copies` : `${copies} of 3 copies`,
    media >= 2 ? `${media} media` : `${media} of 2 media`,
    offsite >= 1 ? `${offsite} elsewhere` : "none elsewhere",
  ];
  return `${words.join(", ")}${isMet ? ": met" : ""}`;
}

/** The command that brings 3-2-1 nearer; undefined where it is met. A place elsewhere is another medium, too. */
export function nextPlace({ offsite, isMet }: ThreeTwoOne): string | undefined {
  if (isMet) return undefined;
  return offsite === 0 ? "holdfast store add NAME branch:REMOTE/holdfast/backup" : "holdfast store add NAME /FOLDER/ON/ANOTHER/DISK";
}
