/**
 * Loaded with `node --import`: the clock of the process starts at SHIFTED_CLOCK (ISO 8601) and goes on from there, as
 * on a machine whose clock was set so. Times of files are the system's all the same.
 */
const RealDate = Date;
const shiftMs = RealDate.parse(process.env.SHIFTED_CLOCK ?? "") - RealDate.now();

globalThis.Date = class extends RealDate {
  constructor(...given) {
    super(...(given.length === 0 ? [RealDate.now() + shiftMs] : given));
  }

  static now() {
    return RealDate.now() + shiftMs;
  }
};
