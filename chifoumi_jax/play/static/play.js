/** The Play page: the phases of a round, and how the page shows them. */

import { Agreement } from "./agreement.js";
import { ApiError, Offline, ask, connection, sleep } from "./api.js";
import { Booth } from "./booth.js";
import { newMatch, settle, winner, winsNeeded } from "./match.js";
import { Meters } from "./meters.js";
import { Reader } from "./reader.js";
import { holds } from "./seal.js";
import { byId, loadModel, openPage, startShell, titleOf } from "./shell.js";
import { recall, remember } from "./storage.js";
import { LANGUAGE_CHANGED, capital, put, reason, t } from "./text.js";

/** @typedef {import("./match.js").Hand} Hand */
/** @typedef {import("./agreement.js").Reading} Reading */
/** @typedef {{round: string, commitment: string}} Begun */

const COUNT_MS = 700;
/** Number of past rounds that are sent for the opponent; the server accepts at most 300. */
const MEMORY = 200;

await startShell("play");
let model = await loadModel();
let match = newMatch(3);
/** @type {[Hand, Hand][]} */
let history = [];
/** @type {"idle" | "counting" | "looking" | "opening" | "shown"} */
let phase = "idle";
/** Increases with each round that starts or is cancelled; callbacks of an older round are ignored. */
let turn = 0;
/** @type {{agreement: Agreement, since: number, found: (verdict: {hand: Hand, frame: Blob}) => void} | null} */
let wanted = null;
/** @type {() => void} Shows the current status again, in the current language. */
let saying = () => {};
let returnsFocus = false;

const status = byId("status");
const go = /** @type {HTMLButtonElement} */ (byId("go"));
const stage = byId("stage");
const letters = /** @type {HTMLInputElement} */ (byId("letters"));
const booth = new Booth();
const reader = new Reader(booth.camera, "/api/frame", take, (error) => say("error", { message: reason(error) }));
let meters = new Meters(byId("meters"), model.classes, nameOf);

/** @param {string} name Name of a class. */
function nameOf(name) {
  return titleOf(model, name);
}

/** @param {string} key @param {() => Record<string, string | number>} values @param {string} [tone] */
function sayWith(key, values, tone = "") {
  saying = () => put(status, key, values());
  status.dataset.tone = tone;
  saying();
}

/** @param {string} key @param {Record<string, string | number>} [values] @param {string} [tone] */
function say(key, values = {}, tone = "") {
  sayWith(key, () => values, tone);
}

/** @param {Reading} reading @param {Blob} frame @param {number} taken */
function take(reading, frame, taken) {
  meters.show(reading.probabilities);
  byId("guide").dataset.state = reading.state;
  if (!wanted || taken < wanted.since) return;
  const verdict = wanted.agreement.add(reading);
  if (verdict.state === "sure") wanted.found({ hand: model.hands[verdict.label], frame });
  else if (verdict.state === "looking") {
    if (reading.state === "sure") say("play.reading", {}, "now");
  } else say(`play.verdict.${verdict.state}`, {}, verdict.state);
}

/** Plays one round, from the machine's choice to both hands.
 *
 * @param {Blob | null} picture The player's picture, if it is already chosen; it is sent only after
 *   the machine has chosen.
 */
async function playRound(picture = null) {
  const mine = ++turn;
  const stale = () => mine !== turn;
  if (winner(match)) startMatch();
  cover();
  setPhase("counting");
  try {
    say("play.choosing");
    const strategy = chosen("strategy");
    const begun = await ask("/api/rounds", { json: { strategy, history } });
    if (stale()) return;
    showSeal("play.sealedNow", begun.commitment);
    byId("machine-stage").dataset.state = "thinking";
    const { hand, frame } = await (booth.usesFiles ? fromPicture(stale, picture) : fromCamera(stale));
    if (stale()) return;
    setPhase("opening");
    booth.freeze(frame);
    await open(begun, hand, stale);
  } catch (error) {
    if (stale()) return;
    giveUp();
    if (error instanceof ApiError && error.code !== "no-round") say("error", { message: reason(error) });
    else if (error instanceof ApiError || error instanceof Offline) say("play.lostRound", {}, "unsure");
    else throw error;
  }
}

/** @param {() => boolean} stale @returns {Promise<{hand: Hand, frame: Blob}>} */
async function fromCamera(stale) {
  for (const number of [3, 2, 1]) {
    showCount(String(number));
    say("play.count", { number }, "now");
    await sleep(COUNT_MS);
    if (stale()) return never();
  }
  showCount("");
  setPhase("looking");
  say("play.show", {}, "now");
  return new Promise((found) => {
    wanted = { agreement: new Agreement(), since: performance.now(), found };
  }).finally(() => (wanted = null));
}

/** @param {() => boolean} stale @param {Blob | null} first @returns {Promise<{hand: Hand, frame: Blob}>} */
async function fromPicture(stale, first) {
  setPhase("looking");
  say("play.showPicture", {}, "now");
  for (let given = first; ; given = null) {
    const frame = given ?? (await booth.nextPicture());
    if (stale()) return never();
    say("play.reading");
    const reading = await readingOf(frame);
    if (stale()) return never();
    if (!reading) continue;
    meters.show(reading.probabilities);
    if (reading.state === "sure") return { hand: model.hands[reading.label], frame };
    say(reading.state === "unsure" ? "play.unsurePicture" : "play.verdict.nothing", {}, reading.state);
  }
}

/**
 * @param {Blob} picture
 * @returns {Promise<Reading | null>} Null if the server refuses the picture; the page then asks for
 *   another one.
 */
async function readingOf(picture) {
  try {
    return await ask("/api/frame", { picture });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say("play.anotherPicture", { message: reason(error) }, "unsure");
    return null;
  }
}

/** @param {Begun} begun @param {Hand} you @param {() => boolean} stale */
async function open(begun, you, stale) {
  const shown = await ask("/api/reveal", { json: { round: begun.round, hand: you } });
  const kept = await holds(begun.commitment, shown.nonce, shown.hand);
  if (stale()) return;
  /** @type {Hand} */
  const machine = shown.hand;
  match = settle(match, you, machine);
  history = [...history, /** @type {[Hand, Hand]} */ ([you, machine])].slice(-MEMORY);
  showSeal(kept === false ? "play.cheated" : "play.opened", begun.commitment);
  if (kept === null) put(byId("seal-check"), "play.sealUnchecked");
  else put(byId("seal-check"), "play.sealCheck", { nonce: shown.nonce, hand: machine });
  uncover(machine);
  setPhase("shown");
  showScore();
  const { outcome } = match.rounds[match.rounds.length - 1];
  stage.classList.add(outcome);
  const won = winner(match);
  const [yours, its] = [match.you, match.machine];
  const text = () => {
    const hands = { you: t(`hand.${you}`), machine: t(`hand.${machine}`) };
    const result = capital(t(`play.result.${outcome}`, hands));
    return { text: won ? t(`play.match.${won}`, { result, yours, its }) : result };
  };
  sayWith("text", text, won ?? outcome);
}

function giveUp() {
  turn++;
  wanted = null;
  showCount("");
  cover();
  setPhase("idle");
}

function cover() {
  booth.unfreeze();
  stage.classList.remove("win", "lose", "draw");
  byId("machine-hand").hidden = true;
  byId("machine-stage").dataset.state = "idle";
  byId("machine-mark").textContent = "?";
  showSeal("play.sealed", "");
  byId("seal-check").textContent = "";
}

/** @param {Hand} hand */
function uncover(hand) {
  const image = /** @type {HTMLImageElement} */ (byId("machine-hand"));
  image.src = `/static/machine-${hand}.jpg`;
  image.alt = capital(t(`hand.${hand}`));
  image.hidden = false;
  // On a phone, the hand may be below the visible part of the page, or behind the buttons at the
  // bottom.
  const its = byId("machine-stage");
  its.dataset.state = "shown";
  its.style.scrollMarginBottom = `${byId("dock").offsetHeight + 8}px`;
  its.scrollIntoView({ block: "nearest" });
}

/** @param {string} key @param {string} commitment */
function showSeal(key, commitment) {
  put(byId("seal-text"), key);
  byId("seal").textContent = commitment;
  byId("seal-start").textContent = commitment.slice(0, 12);
}

/** @param {string} text */
function showCount(text) {
  const count = byId("count");
  count.textContent = text;
  count.classList.remove("beat");
  void count.offsetWidth;
  if (text) count.classList.add("beat");
}

/** @param {typeof phase} next */
function setPhase(next) {
  phase = next;
  booth.lock(next === "counting" || next === "opening");
  update();
}

/** Enable or disable the main button, and set its label. */
function update() {
  const between = phase === "idle" || phase === "shown";
  const hadFocus = document.activeElement === go;
  go.disabled = !model.playable || !between || !booth.isReady;
  // A disabled button loses the focus; it gets the focus back when it is enabled again.
  if (go.disabled) returnsFocus ||= hadFocus;
  else if (returnsFocus) {
    returnsFocus = false;
    if (document.activeElement === document.body) go.focus();
  }
  const label = winner(match) ? "play.again" : match.rounds.length ? "play.next" : "play.start";
  put(byId("go-text"), label);
}

function showScore() {
  byId("score-you").textContent = String(match.you);
  byId("score-machine").textContent = String(match.machine);
  const wins = winsNeeded(match.bestOf);
  put(byId("target"), wins === 1 ? "play.targetOne" : "play.target", { wins });
  byId("rounds").replaceChildren(
    ...match.rounds.map(({ you, machine, outcome }) => {
      const item = document.createElement("li");
      item.className = outcome;
      const names = { you: capital(t(`hand.${you}`)), machine: t(`hand.${machine}`) };
      item.textContent = t(`play.roundLabel.${outcome}`, names);
      return item;
    }),
  );
}

function startMatch() {
  match = newMatch(Number(chosen("best")));
  showScore();
}

/** Show what the player can do while no round is running. */
function invite() {
  if (!model.playable) return;
  if (!booth.isReady) say("play.needCamera");
  else say(booth.usesFiles ? "play.readyPicture" : "play.ready");
}

/** @param {string} name Name of a group of radio buttons. */
function chosen(name) {
  const data = new FormData(/** @type {HTMLFormElement} */ (byId("options")));
  return String(data.get(name));
}

function showStrategy() {
  put(byId("strategy-text"), `play.strategy.${chosen("strategy")}`);
}

function showModel() {
  const notice = byId("unplayable");
  notice.hidden = model.playable;
  meters = new Meters(byId("meters"), model.classes, nameOf);
  meters.show(null);
  reader.side = Math.min(480, Math.max(224, model.imageSize));
  booth.side = reader.side;
  if (model.playable) return;
  const hands = model.missing.map((hand) => t(`hand.${hand}`)).join(", ");
  const why = model.missing.length
    ? t("play.missing", { hands })
    : t("play.strange", { classes: model.strange.join(", ") });
  put(notice, "play.unplayable", { why });
  status.textContent = "";
}

/** @returns {Promise<never>} A promise that never settles, for a cancelled round. */
function never() {
  return new Promise(() => {});
}

booth.addEventListener("change", () => {
  if (booth.camera.isOn) reader.start();
  else reader.stop();
  if (phase !== "idle" && phase !== "shown") giveUp();
  if (!booth.camera.isOn) meters.show(null);
  update();
  if (phase === "idle") invite();
});
booth.addEventListener("picture", (event) => {
  if (!go.disabled) void playRound(/** @type {CustomEvent<Blob>} */ (event).detail);
});
connection.addEventListener("lost", () => {
  if (phase === "counting" || phase === "looking") {
    giveUp();
    say("play.lostRound", {}, "unsure");
  }
});
connection.addEventListener("back", async () => {
  model = await loadModel();
  showModel();
  update();
});
document.addEventListener(LANGUAGE_CHANGED, () => {
  showScore();
  meters.rename();
  saying();
  showModel();
});
go.addEventListener("click", () => void playRound());
byId("new").addEventListener("click", () => {
  giveUp();
  startMatch();
  update();
  invite();
});
byId("options").addEventListener("change", (event) => {
  const { name } = /** @type {HTMLInputElement} */ (event.target);
  if (name === "strategy") showStrategy();
  if (name === "best") byId("new").click();
});
letters.checked = recall("letters") !== "off";
letters.addEventListener("change", () => remember("letters", letters.checked ? "on" : "off"));
document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (target.closest("input, select, textarea")) return;
  if (event.key === " " && !target.closest("button, summary, a")) {
    event.preventDefault();
    if (!go.disabled) go.click();
  } else if (!letters.checked) return;
  else if (event.key.toLowerCase() === "n") byId("new").click();
  else if (event.key.toLowerCase() === "m") byId("mirror").click();
});

showModel();
showScore();
showStrategy();
cover();
openPage();
await booth.begin();
update();
invite();
