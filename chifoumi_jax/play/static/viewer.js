/** The camera's picture with its frame, and the button that turns it on. */

import { Camera, isPermitted } from "./camera.js";
import { byId } from "./shell.js";
import { put } from "./text.js";

/** Fires "change" when the camera is turned on or off. */
export class Viewer extends EventTarget {
  constructor() {
    super();
    this.camera = new Camera(/** @type {HTMLVideoElement} */ (byId("video")));
    this.button = /** @type {HTMLButtonElement} */ (byId("camera-on"));
    this.mirror = /** @type {HTMLInputElement} */ (byId("mirror"));
    this.button.addEventListener("click", () => void this.turnOn());
    this.mirror.addEventListener("change", () => this.reflect());
    this.camera.addEventListener("lost", () => this.fail("lost"));
  }

  /** Turn the camera on if the browser allows it without asking the user. */
  async begin() {
    this.reflect();
    if (await isPermitted()) await this.turnOn();
  }

  async turnOn() {
    this.button.disabled = true;
    put(byId("camera-text"), "camera.starting");
    const trouble = await this.camera.start();
    this.button.disabled = false;
    if (trouble) this.fail(trouble);
    else this.change();
  }

  turnOff() {
    this.camera.stop();
    put(byId("camera-text"), "camera.off");
    put(this.button, "camera.on");
    this.change();
  }

  /** @param {import("./camera.js").Trouble} trouble */
  fail(trouble) {
    put(byId("camera-text"), `camera.${trouble}`);
    put(this.button, "camera.retry");
    this.change();
  }

  change() {
    this.reflect();
    this.dispatchEvent(new Event("change"));
  }

  /** Show the video or the placeholder, as the camera is on or off. */
  reflect() {
    const isOn = this.camera.isOn;
    byId("video").hidden = !isOn;
    byId("guide").hidden = !isOn;
    byId("placeholder").hidden = isOn;
    byId("stage").classList.toggle("mirrored", this.mirror.checked && isOn);
  }
}
