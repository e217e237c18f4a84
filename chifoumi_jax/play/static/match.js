/** The rules and the score. This module does not use the page. */

/** @typedef {"rock" | "paper" | "scissors"} Hand */
/** @typedef {"win" | "lose" | "draw"} Outcome For the player. */
/** @typedef {{you: Hand, machine: Hand, outcome: Outcome}} Round */

/**
 * @typedef {object} Match
 * @property {number} bestOf
 * @property {Round[]} rounds
 * @property {number} you Rounds that the player has won.
 * @property {number} machine Rounds that the machine has won.
 */

/** @type {Record<Hand, Hand>} The hand that each hand beats. */
const BEATS = { rock: "scissors", paper: "rock", scissors: "paper" };

/** @param {number} bestOf An odd number. @returns {Match} */
export function newMatch(bestOf) {
  return { bestOf, rounds: [], you: 0, machine: 0 };
}

/** @param {number} bestOf @returns {number} Number of rounds to win for the match. */
export function winsNeeded(bestOf) {
  return Math.floor(bestOf / 2) + 1;
}

/** @param {Hand} you @param {Hand} machine @returns {Outcome} */
export function judge(you, machine) {
  if (you === machine) return "draw";
  return BEATS[you] === machine ? "win" : "lose";
}

/** @param {Match} match @param {Hand} you @param {Hand} machine @returns {Match} The match after this round. */
export function settle(match, you, machine) {
  const outcome = judge(you, machine);
  return {
    bestOf: match.bestOf,
    rounds: [...match.rounds, { you, machine, outcome }],
    you: match.you + Number(outcome === "win"),
    machine: match.machine + Number(outcome === "lose"),
  };
}

/**
 * @param {Match} match
 * @returns {"win" | "lose" | null} The match's result for the player; null while it is not over.
 */
export function winner(match) {
  const needed = winsNeeded(match.bestOf);
  if (match.you >= needed) return "win";
  return match.machine >= needed ? "lose" : null;
}
