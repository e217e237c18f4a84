/** The webcam, and the square crop of its picture that the model gets. */

/** Side of the crop, as a share of the picture's shorter side; the same as `.guide` in parts.css. */
export const CROP = 0.84;
const QUALITY = 0.9;

/** @typedef {"denied" | "none" | "busy" | "insecure" | "lost"} Trouble */

/** Fires "lost" when the camera is disconnected. */
export class Camera extends EventTarget {
  /** @param {HTMLVideoElement} video */
  constructor(video) {
    super();
    this.video = video;
    this.canvas = document.createElement("canvas");
    /** @type {MediaStream | null} */
    this.stream = null;
  }

  get isOn() {
    return this.stream !== null;
  }

  /** @returns {Promise<Trouble | null>} Why the camera cannot be used; null if it is on. */
  async start() {
    if (!navigator.mediaDevices?.getUserMedia) return "insecure";
    try {
      const video = { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } };
      this.stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      return trouble(error);
    }
    for (const track of this.stream.getVideoTracks()) {
      track.addEventListener("ended", () => {
        this.stop();
        this.dispatchEvent(new Event("lost"));
      });
    }
    this.video.srcObject = this.stream;
    await this.video.play();
    return null;
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }

  /**
   * @param {number} side In pixels.
   * @returns {Promise<Blob | null>} A JPEG of the crop; null if the camera shows no picture.
   */
  async frame(side) {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!this.isOn || !width) return null;
    const cut = Math.min(width, height) * CROP;
    const box = [(width - cut) / 2, (height - cut) / 2, cut, cut];
    return draw(this.canvas, this.video, box, side, side);
  }
}

/**
 * A picture file as a JPEG, scaled down if it is larger than `side`.
 * @param {Blob} file
 * @param {number} side Maximum length of the longer side, in pixels.
 * @returns {Promise<Blob | null>} Null if the browser cannot read it.
 */
export async function shrink(file, side) {
  const image = await createImageBitmap(file).catch(() => null);
  if (!image) return null;
  const share = Math.min(1, side / Math.max(image.width, image.height));
  const size = [image.width, image.height].map((n) => Math.max(1, Math.round(n * share)));
  const box = [0, 0, image.width, image.height];
  return draw(document.createElement("canvas"), image, box, size[0], size[1]);
}

/**
 * Whether the browser allows the camera without asking the user.
 * @returns {Promise<boolean>}
 */
export async function isPermitted() {
  try {
    const name = /** @type {PermissionName} */ ("camera");
    return (await navigator.permissions.query({ name })).state === "granted";
  } catch {
    return false;
  }
}

/** @param {unknown} error Of `getUserMedia`. @returns {Trouble} */
function trouble(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return "denied";
  if (name === "NotReadableError" || name === "AbortError") return "busy";
  return "none";
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasImageSource} image
 * @param {number[]} box Left, top, width and height of the crop, in pixels of the image.
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob | null>}
 */
function draw(canvas, image, box, width, height) {
  canvas.width = width;
  canvas.height = height;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(image, box[0], box[1], box[2], box[3], 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}
