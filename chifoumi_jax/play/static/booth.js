/** Where the player's hand comes from: the camera's picture with its frame, or picture files. */

import { Camera, isPermitted, shrink } from "./camera.js";
import { byId } from "./shell.js";
import { put } from "./text.js";

/** Fires "change" when there is another source of pictures, or none. */
export class Booth extends EventTarget {
  /** @param {HTMLElement} stage The element that holds video, guide and placeholder. */
  constructor(stage) {
    super();
    this.stage = stage;
    this.video = /** @type {HTMLVideoElement} */ (byId("video"));
    this.shown = /** @type {HTMLImageElement} */ (byId("shown"));
    this.placeholder = byId("placeholder");
    this.button = /** @type {HTMLButtonElement} */ (byId("camera-on"));
    this.source = byId("source");
    this.picture = /** @type {HTMLInputElement} */ (byId("picture"));
    this.mirror = /** @type {HTMLInputElement} */ (byId("mirror"));
    this.camera = new Camera(this.video);
    this.usesFiles = false;
    /** Of the pictures that are sent, in pixels. */
    this.side = 224;
    /** @type {((picture: Blob) => void) | null} */
    this.waiting = null;
    this.listen();
  }

  /** Whether a hand can be shown. */
  get isReady() {
    return this.usesFiles || this.camera.isOn;
  }

  /** Turn the camera on if the browser need not ask for it. */
  async begin() {
    this.reflect();
    if (await isPermitted()) await this.turnOn();
  }

  async turnOn() {
    this.usesFiles = false;
    this.button.disabled = true;
    put(byId("camera-text"), "camera.starting");
    const trouble = await this.camera.start();
    this.button.disabled = false;
    put(byId("camera-text"), trouble ? `camera.${trouble}` : "camera.off");
    put(this.button, trouble ? "camera.retry" : "camera.on");
    this.reflect();
    this.dispatchEvent(new Event("change"));
  }

  useFiles() {
    this.camera.stop();
    this.usesFiles = true;
    put(byId("camera-text"), "play.readyPicture");
    put(this.button, "camera.useCamera");
    this.reflect();
    this.dispatchEvent(new Event("change"));
  }

  /** @returns {Promise<Blob>} The next picture that the player chooses. */
  nextPicture() {
    return new Promise((resolve) => {
      this.waiting = resolve;
      this.picture.focus();
    });
  }

  /** @param {Blob} frame Shown instead of the camera's picture. */
  freeze(frame) {
    this.unfreeze();
    this.shown.src = URL.createObjectURL(frame);
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

  /** @param {boolean} locked Whether no picture may be chosen now. */
  lock(locked) {
    this.picture.disabled = locked;
  }

  reflect() {
    const frozen = !this.shown.hidden;
    this.video.hidden = !this.camera.isOn;
    byId("guide").hidden = !this.camera.isOn || frozen;
    this.placeholder.hidden = this.camera.isOn || frozen;
    this.source.hidden = !this.isReady;
    put(this.source, this.usesFiles ? "camera.useCamera" : "camera.useFiles");
    byId("picture-label").classList.toggle("primary", this.usesFiles);
    byId("picture-label").classList.toggle("secondary", !this.usesFiles);
    this.button.hidden = this.usesFiles;
    this.stage.classList.toggle("mirrored", this.mirror.checked && !this.usesFiles);
  }

  listen() {
    this.button.addEventListener("click", () => void this.turnOn());
    this.source.addEventListener("click", () => void (this.usesFiles ? this.turnOn() : this.useFiles()));
    this.mirror.addEventListener("change", () => this.reflect());
    this.picture.addEventListener("change", () => {
      const file = this.picture.files?.[0];
      this.picture.value = "";
      if (file) void this.take(file);
    });
    this.camera.addEventListener("lost", () => {
      put(byId("camera-text"), "camera.lost");
      put(this.button, "camera.retry");
      this.reflect();
      this.dispatchEvent(new Event("change"));
    });
    this.stage.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.placeholder.classList.add("over");
    });
    this.stage.addEventListener("dragleave", () => this.placeholder.classList.remove("over"));
    this.stage.addEventListener("drop", (event) => {
      event.preventDefault();
      this.placeholder.classList.remove("over");
      const file = event.dataTransfer?.files[0];
      if (file && !this.picture.disabled) void this.take(file);
    });
  }

  /** @param {File} file */
  async take(file) {
    // What the browser cannot read, the server may (TIFF), or says why not.
    const picture = (await shrink(file, 2 * this.side)) ?? file;
    if (!this.usesFiles) this.useFiles();
    const waiting = this.waiting;
    this.waiting = null;
    waiting?.(picture);
  }
}
