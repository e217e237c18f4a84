/** A reading counts only when several frames in a row agree. This module does not use the page. */

/**
 * @typedef {object} Reading
 * @property {"sure" | "unsure" | "nothing"} state
 * @property {string} label
 * @property {Record<string, number>} probabilities
 */

/** @typedef {{state: "looking" | "sure" | "unsure" | "nothing", label: string}} Verdict */

/** Number of frames in a row that must agree. */
export const NEEDED = 3;

/** Counts equal readings in a row. */
export class Agreement {
  /** @param {number} [needed] */
  constructor(needed = NEEDED) {
    this.needed = needed;
    this.last = "";
    this.inARow = 0;
  }

  /** @param {Reading} reading @returns {Verdict} */
  add(reading) {
    const said = reading.state === "sure" ? `sure ${reading.label}` : reading.state;
    this.inARow = said === this.last ? this.inARow + 1 : 1;
    this.last = said;
    const state = this.inARow >= this.needed ? reading.state : "looking";
    return { state, label: reading.label };
  }
}
