/** When several frames in a row say the same, it counts. No page is touched here. */

/**
 * @typedef {object} Reading
 * @property {"sure" | "unsure" | "nothing"} state
 * @property {string} label
 * @property {Record<string, number>} probabilities
 */

/** @typedef {{state: "looking" | "sure" | "unsure" | "nothing", label: string}} Verdict */

/** So many frames must agree. */
export const NEEDED = 3;

/** Takes readings one after the other. */
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
