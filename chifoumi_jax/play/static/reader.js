/** Sends camera frames to the server for classification, one at a time. */

import { ApiError, Offline, ask, connection, sleep } from "./api.js";

/** Minimum time from one frame to the next, because more frames would be of no use. */
const PACE_MS = 90;
const PAUSE_MS = 250;

/** @typedef {import("./agreement.js").Reading} Reading */

export class Reader {
  /**
   * @param {import("./camera.js").Camera} camera
   * @param {string} path Path of the API that classifies a frame.
   * @param {(reading: Reading, frame: Blob, taken: number) => void} onReading `taken` is the time
   *   of the frame, from `performance.now()`.
   * @param {(error: ApiError) => void} onError
   */
  constructor(camera, path, onReading, onError) {
    this.camera = camera;
    this.path = path;
    this.onReading = onReading;
    this.onError = onError;
    this.side = 224;
    this.run = 0;
  }

  start() {
    void this.loop(++this.run);
  }

  stop() {
    this.run++;
  }

  /** @param {number} run */
  async loop(run) {
    while (run === this.run) {
      const began = performance.now();
      const frame = document.hidden ? null : await this.camera.frame(this.side);
      if (!frame) {
        await sleep(PAUSE_MS);
        continue;
      }
      try {
        const reading = await ask(this.path, { picture: frame });
        if (run === this.run) this.onReading(reading, frame, began);
      } catch (error) {
        if (error instanceof Offline) await once(connection, "back");
        else if (error instanceof ApiError) this.onError(error);
        else throw error;
      }
      await sleep(Math.max(0, PACE_MS - (performance.now() - began)));
    }
  }
}

/** @param {EventTarget} target @param {string} name @returns {Promise<void>} */
function once(target, name) {
  return new Promise((resolve) => target.addEventListener(name, () => resolve(), { once: true }));
}
