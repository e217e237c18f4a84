/** A class's card on the Teach page: its name, record button and number of pictures. */

import { shrink } from "./camera.js";
import { put, t } from "./text.js";

/**
 * @typedef {object} Refused
 * @property {string} reason
 * @property {boolean} isOfPicture Whether only this picture is bad, so that others can still be added.
 */
/**
 * @typedef {object} Teacher Functions of the page that a card calls.
 * @property {(id: number, name: string) => Promise<string | null>} rename Returns an error text, or null.
 * @property {(id: number) => Promise<void>} remove
 * @property {(id: number) => Promise<void>} clear
 * @property {(id: number) => Promise<string[]>} latest URLs of the newest pictures that the
 *   server has.
 * @property {(id: number, hold: number, picture: Blob) => Promise<Refused | null>} add Returns why
 *   the picture was refused, or null.
 * @property {() => Promise<Blob | null>} frame
 * @property {(key: string, values: Record<string, string | number>) => void} say
 */

const THUMBNAILS = 6;
/** Time from one picture to the next. */
const PACE_MS = 100;

let holds = 0;
/** Random, so that hold numbers of an earlier visit do not occur again in this one. */
const firstHold = Math.floor(Math.random() * 900_000);

export class Pupil {
  /** @param {number} id @param {string} name @param {number} count @param {Teacher} teacher */
  constructor(id, name, count, teacher) {
    this.id = id;
    this.name = name;
    this.count = count;
    this.teacher = teacher;
    this.isRecording = false;
    this.root = document.createElement("li");
    this.root.className = "pupil";
    this.input = document.createElement("input");
    this.number = text("span", "count");
    this.error = text("p", "error");
    this.thumbs = text("div", "thumbs");
    this.record = button("primary");
    this.files = document.createElement("input");
    this.fileText = document.createElement("span");
    this.clear = button("quiet");
    this.remove = button("quiet");
    this.build();
    this.listen();
    this.render(0);
    if (count) void this.recall();
  }

  /** Show pictures that were added before this page was loaded. */
  async recall() {
    for (const address of await this.teacher.latest(this.id)) this.showThumbnail(address);
  }

  build() {
    this.input.type = "text";
    this.input.maxLength = 40;
    this.input.value = this.name;
    this.error.setAttribute("role", "alert");
    this.files.type = "file";
    this.files.accept = "image/*";
    this.files.multiple = true;
    const label = document.createElement("label");
    label.className = "secondary file";
    label.append(this.fileText, this.files);
    const row = text("div", "actions left");
    row.append(this.record, label, this.clear, this.remove);
    const head = text("div", "head");
    head.append(this.input, this.number);
    this.root.append(head, this.error, this.thumbs, row);
  }

  /**
   * Update all texts.
   * @param {number} place Position of this card among the cards, from 0.
   */
  render(place) {
    const { name } = this;
    this.input.setAttribute("aria-label", t("teach.name", { number: place + 1 }));
    this.number.textContent = this.count === 1 ? t("teach.count.one") : t("teach.count", { count: this.count });
    label(this.record, t("teach.record"), t("teach.recordOf", { name }));
    this.fileText.textContent = t("teach.addFiles");
    this.files.setAttribute("aria-label", t("teach.addFilesOf", { name }));
    label(this.clear, t("teach.clear"), t("teach.clearOf", { name }));
    label(this.remove, t("teach.remove"), t("teach.removeOf", { name }));
    this.clear.hidden = this.count === 0;
  }

  /** @param {boolean} can Whether the camera is on, so that the card can record. */
  allow(can) {
    this.record.disabled = !can;
    if (!can) this.isRecording = false;
  }

  listen() {
    this.input.addEventListener("change", () => void this.rename());
    this.clear.addEventListener("click", () => void this.teacher.clear(this.id));
    this.remove.addEventListener("click", () => void this.teacher.remove(this.id));
    this.files.addEventListener("change", () => void this.addFiles());
    this.record.addEventListener("pointerdown", (event) => {
      if (event.button === 0) void this.start();
    });
    this.record.addEventListener("contextmenu", (event) => event.preventDefault());
    for (const name of ["pointerup", "pointercancel", "blur"]) {
      this.record.addEventListener(name, () => this.stop());
    }
    window.addEventListener("pointerup", () => this.stop());
    this.record.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) void this.start();
    });
    this.record.addEventListener("keyup", () => this.stop());
    // Screen readers press buttons without key or pointer events.
    this.record.addEventListener("click", (event) => {
      if (event.detail === 0 && !this.isRecording) void this.start().then(() => this.stop());
    });
  }

  async rename() {
    const wrong = await this.teacher.rename(this.id, this.input.value);
    this.error.textContent = wrong ?? "";
    this.input.setAttribute("aria-invalid", String(wrong !== null));
  }

  stop() {
    this.isRecording = false;
  }

  /** Record pictures until the button is released. */
  async start() {
    if (this.isRecording || this.record.disabled) return;
    this.isRecording = true;
    this.root.classList.add("recording");
    this.teacher.say("teach.recording", { name: this.name });
    const hold = nextHold();
    /** @type {Refused | null} */
    let wrong = null;
    do {
      const began = performance.now();
      const frame = await this.teacher.frame();
      if (!frame) break;
      wrong = await this.take(hold, frame);
      if (wrong) break;
      await new Promise((done) => setTimeout(done, Math.max(0, PACE_MS - (performance.now() - began))));
    } while (this.isRecording);
    this.isRecording = false;
    this.root.classList.remove("recording");
    this.report(wrong, 0);
  }

  async addFiles() {
    const hold = nextHold();
    const files = Array.from(this.files.files ?? []);
    this.files.value = "";
    let bad = 0;
    /** @type {Refused | null} */
    let wrong = null;
    for (const file of files) {
      const refused = await this.take(hold, (await shrink(file, 512)) ?? file);
      wrong = refused ?? wrong;
      if (refused && !refused.isOfPicture) break;
      bad += Number(refused !== null);
    }
    this.report(wrong, bad);
  }

  /**
   * Show how many pictures the class has, and why some were refused.
   * @param {Refused | null} wrong The last refusal.
   * @param {number} bad Number of refused files.
   */
  report(wrong, bad) {
    const { name, count } = this;
    if (!wrong) this.teacher.say("teach.recorded", { name, count });
    else if (bad) this.teacher.say("teach.recordedBad", { name, count, bad, reason: wrong.reason });
    else this.teacher.say("teach.recordedUntil", { name, count, reason: wrong.reason });
  }

  /** @param {number} hold @param {Blob} picture @returns {Promise<Refused | null>} */
  async take(hold, picture) {
    const refused = await this.teacher.add(this.id, hold, picture);
    if (refused) return refused;
    const address = URL.createObjectURL(picture);
    this.showThumbnail(address).onload = () => URL.revokeObjectURL(address);
    return null;
  }

  /** @param {string} address @returns {HTMLImageElement} */
  showThumbnail(address) {
    const image = document.createElement("img");
    image.alt = "";
    image.src = address;
    this.thumbs.prepend(image);
    this.thumbs.children[THUMBNAILS]?.remove();
    return image;
  }

  /** @param {number} count */
  setCount(count) {
    this.count = count;
    if (count === 0) this.thumbs.replaceChildren();
    this.number.textContent = count === 1 ? t("teach.count.one") : t("teach.count", { count });
    this.clear.hidden = count === 0;
  }
}

function nextHold() {
  return firstHold + ++holds;
}

/** @param {string} tag @param {string} name */
function text(tag, name) {
  const element = document.createElement(tag);
  element.className = name;
  return element;
}

/** @param {string} name */
function button(name) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = name;
  return element;
}

/** @param {HTMLElement} element @param {string} shown @param {string} said */
function label(element, shown, said) {
  element.textContent = shown;
  element.setAttribute("aria-label", said);
}
