/** The Photos page: sends photos to the model, one at a time. */

import { ApiError, Offline, ask, connection } from "./api.js";
import { Meters } from "./meters.js";
import { byId, loadModel, openPage, startShell, titleOf } from "./shell.js";
import { LANGUAGE_CHANGED, capital, put, reason, t } from "./text.js";

/** Maximum number of photos; limited because each result keeps its pictures in the page. */
const MOST = 60;

/**
 * @typedef {object} Answer
 * @property {"sure" | "unsure" | "nothing"} state
 * @property {string} label
 * @property {Record<string, number>} probabilities
 * @property {string} picture
 * @property {string | null} heat
 */

await startShell("photos");
let model = await loadModel();
const results = byId("results");
const heat = /** @type {HTMLInputElement} */ (byId("heat"));
/** @type {Result[]} */
let shown = [];
/** @type {{name: string, content: Blob}[]} */
let waiting = [];
let isWorking = false;
/** Whether photos were left out because of the maximum. */
let isCut = false;
/** Counts of the photos in the current run of `work`. */
let tally = { done: 0, bad: 0 };
/** Shows the current status again, in the current language. */
let saying = () => {};

/** One photo's result on the page. */
class Result {
  /** @param {string} name @param {Answer | null} answer @param {ApiError | null} error */
  constructor(name, answer, error) {
    this.name = name;
    this.answer = answer;
    this.error = error;
    this.root = document.createElement("li");
    this.root.className = "card result";
    this.title = document.createElement("h3");
    this.file = document.createElement("p");
    this.file.className = "hint file-name";
    this.file.textContent = name;
    if (answer) this.fill(answer);
    else {
      this.message = document.createElement("p");
      this.message.className = "error";
      this.root.append(this.file, this.message);
    }
    this.render();
  }

  /** @param {Answer} answer */
  fill(answer) {
    this.image = document.createElement("img");
    const frame = document.createElement("div");
    frame.className = "frame";
    frame.append(this.image);
    const bars = document.createElement("div");
    bars.className = "meters";
    this.meters = new Meters(bars, Object.keys(answer.probabilities), nameOf);
    this.meters.show(answer.probabilities);
    this.root.append(frame, this.title, this.file, bars);
    if (answer.heat) return;
    this.note = document.createElement("p");
    this.note.className = "hint";
    this.root.append(this.note);
  }

  /** Update the texts for the language, and the picture for the heat map switch. */
  render() {
    if (this.message && this.error) this.message.textContent = reason(this.error);
    if (!this.answer || !this.image) return;
    const withHeat = heat.checked && this.answer.heat !== null;
    this.image.src = withHeat ? /** @type {string} */ (this.answer.heat) : this.answer.picture;
    this.image.alt = t(withHeat ? "photos.altHeat" : "photos.alt", { name: this.name });
    this.title.textContent = verdict(this.answer);
    this.root.dataset.state = this.answer.state;
    this.meters?.rename();
    if (this.note) this.note.textContent = t("photos.noHeat");
  }
}

/** @param {string} name Name of a class. */
function nameOf(name) {
  return titleOf(model, name);
}

/** @param {Answer} answer */
function verdict(answer) {
  if (answer.state === "nothing") return capital(t("state.nothing"));
  const name = nameOf(answer.label);
  return answer.state === "sure" ? name : `${name}? ${capital(t("state.unsure"))}`;
}

/** @param {() => void} what */
function say(what) {
  saying = what;
  saying();
}

/** @param {{name: string, content: Blob}[]} photos */
function add(photos) {
  const room = Math.max(0, MOST - shown.length - waiting.length);
  waiting.push(...photos.slice(0, room));
  isCut ||= photos.length > room;
  if (!isWorking) void work();
}

/** Send the waiting photos until none is left. */
async function work() {
  isWorking = true;
  tally = { done: 0, bad: 0 };
  while (waiting.length) {
    const number = tally.done + 1;
    const all = tally.done + waiting.length;
    say(() => put(byId("status"), "photos.working", { done: number, all }));
    const photo = waiting[0];
    const result = await explain(photo.name, photo.content);
    // The user may have removed all photos and chosen others while this one was processed.
    if (waiting[0] !== photo) continue;
    waiting.shift();
    tally.done++;
    tally.bad += Number(!result.answer);
    shown.unshift(result);
    results.prepend(result.root);
    /** @type {HTMLButtonElement} */ (byId("clear")).disabled = false;
  }
  isWorking = false;
  const { done, bad } = tally;
  const first = shown[0]?.answer;
  if (isCut) say(() => put(byId("status"), "photos.tooMany", { most: MOST }));
  else if (bad) say(() => put(byId("status"), "photos.doneBad", { all: done, bad }));
  else if (done === 1 && first) {
    say(() => put(byId("status"), "photos.done.one", { label: nameOf(first.label), state: t(`state.${first.state}`) }));
  } else if (done) say(() => put(byId("status"), "photos.done", { all: done }));
  isCut = false;
}

/** @param {string} name @param {Blob} content @returns {Promise<Result>} */
async function explain(name, content) {
  for (;;) {
    try {
      return new Result(name, await ask("/api/photo", { picture: content }), null);
    } catch (error) {
      if (error instanceof ApiError) return new Result(name, null, error);
      if (!(error instanceof Offline)) throw error;
      await new Promise((back) => connection.addEventListener("back", back, { once: true }));
    }
  }
}

/** @param {FileList | File[]} files */
function addFiles(files) {
  add(Array.from(files, (file) => ({ name: file.name, content: file })));
}

const files = /** @type {HTMLInputElement} */ (byId("files"));
files.addEventListener("change", () => {
  addFiles(files.files ?? []);
  files.value = "";
});
byId("sample").addEventListener("click", async () => {
  const hands = ["rock", "paper", "scissors"];
  const pictures = hands.map(async (hand) => {
    const content = await (await fetch(`/static/machine-${hand}.jpg`)).blob();
    return { name: t("photos.sampleName", { hand: t(`hand.${hand}`) }), content };
  });
  add(await Promise.all(pictures));
});
byId("clear").addEventListener("click", () => {
  waiting = [];
  shown = [];
  isCut = false;
  tally = { done: 0, bad: 0 };
  results.replaceChildren();
  say(() => (byId("status").textContent = ""));
  /** @type {HTMLButtonElement} */ (byId("clear")).disabled = true;
  files.focus();
});
heat.addEventListener("change", () => shown.forEach((result) => result.render()));
const drop = byId("drop");
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  addFiles(event.dataTransfer?.files ?? []);
});
connection.addEventListener("back", async () => (model = await loadModel()));
document.addEventListener(LANGUAGE_CHANGED, () => {
  saying();
  shown.forEach((result) => result.render());
});
openPage();
