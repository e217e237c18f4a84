/** Source of the player's hand: the camera's picture with its frame, or picture files. */

import { shrink } from "./camera.js";
import { byId } from "./shell.js";
import { put, t } from "./text.js";
import { Viewer } from "./viewer.js";

/**
 * Fires "change" when the source of pictures changes or is lost, and "picture" (a CustomEvent) when
 * the player chooses a picture while `nextPicture` is not waiting.
 */
export class Booth extends Viewer {
  constructor() {
    super();
    this.shown = /** @type {HTMLImageElement} */ (byId("shown"));
    this.placeholder = byId("placeholder");
    this.source = byId("source");
    this.picture = /** @type {HTMLInputElement} */ (byId("picture"));
    this.usesFiles = false;
    /** Side of the pictures that are sent, in pixels. */
    this.side = 224;
    /** @type {((picture: Blob) => void) | null} */
    this.waiting = null;
    this.source.addEventListener("click", () => void (this.usesFiles ? this.turnOn() : this.useFiles()));
    this.picture.addEventListener("change", () => {
      const file = this.picture.files?.[0];
      this.picture.value = "";
      if (file) void this.take(file);
    });
    this.listenForDrops(byId("stage"));
  }

  /** Whether a hand can be shown. */
  get isReady() {
    return this.usesFiles || this.camera.isOn;
  }

  async turnOn() {
    this.usesFiles = false;
    await super.turnOn();
  }

  useFiles() {
    this.usesFiles = true;
    this.camera.stop();
    put(byId("camera-text"), "play.readyPicture");
    this.change();
  }

  /** @returns {Promise<Blob>} The next picture that the player chooses. */
  nextPicture() {
    return new Promise((resolve) => {
      this.waiting = resolve;
      this.picture.focus();
    });
  }

  /** @param {Blob} frame Picture to show instead of the camera's. */
  freeze(frame) {
    this.unfreeze();
    this.shown.src = URL.createObjectURL(frame);
    this.shown.alt = t("play.yourAlt");
    this.shown.hidden = false;
    this.reflect();
  }

  unfreeze() {
    if (!this.shown.src) return;
    URL.revokeObjectURL(this.shown.src);
    this.shown.removeAttribute("src");
    this.shown.hidden = true;
    this.reflect();
  }

  /** @param {boolean} locked Whether choosing a picture is disabled. */
  lock(locked) {
    this.picture.disabled = locked;
  }

  reflect() {
    super.reflect();
    const isFrozen = !this.shown.hidden;
    byId("guide").hidden ||= isFrozen;
    this.placeholder.hidden ||= isFrozen;
    this.source.hidden = !this.isReady;
    put(this.source, this.usesFiles ? "camera.useCamera" : "camera.useFiles");
    byId("picture-label").classList.toggle("primary", this.usesFiles);
    byId("picture-label").classList.toggle("secondary", !this.usesFiles);
    this.button.hidden = this.usesFiles;
    byId("stage").classList.toggle("mirrored", this.mirror.checked && !this.usesFiles);
  }

  /** @param {HTMLElement} stage */
  listenForDrops(stage) {
    stage.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.placeholder.classList.add("over");
    });
    stage.addEventListener("dragleave", () => this.placeholder.classList.remove("over"));
    stage.addEventListener("drop", (event) => {
      event.preventDefault();
      this.placeholder.classList.remove("over");
      const file = event.dataTransfer?.files[0];
      if (file && !this.picture.disabled) void this.take(file);
    });
  }

  /** @param {File} file */
  async take(file) {
    // A file that the browser cannot read is sent unchanged: the server may read it (TIFF), or says
    // why it cannot.
    const picture = (await shrink(file, 2 * this.side)) ?? file;
    if (!this.usesFiles) this.useFiles();
    const { waiting } = this;
    this.waiting = null;
    if (waiting) waiting(picture);
    else this.dispatchEvent(new CustomEvent("picture", { detail: picture }));
  }
}
