/** The Teach page: classes, recording, training, and trying the trained model. */

import { ApiError, Offline, ask, connection, sleep } from "./api.js";
import { Meters } from "./meters.js";
import { Pupil } from "./pupil.js";
import { Reader } from "./reader.js";
import { byId, loadModel, openPage, startShell } from "./shell.js";
import { LANGUAGE_CHANGED, capital, percent, put, reason, t } from "./text.js";
import { Viewer } from "./viewer.js";

const POLL_MS = 400;
/** Side of recorded pictures in pixels; the server keeps them at this size. */
const SIDE = 256;
/** HTTP statuses for a bad picture: no body, too large, not an image, unreadable. */
const OF_PICTURES = [400, 413, 415, 422];

/** @typedef {import("./shell.js").Model} Model */
/**
 * @typedef {object} Job
 * @property {"quick" | "full"} kind
 * @property {"running" | "done" | "stopped" | "failed"} state
 * @property {"preparing" | "learning" | "judging" | "loading"} stage
 * @property {number} step
 * @property {number} steps
 * @property {number | null} accuracy
 * @property {string | null} photos
 * @property {string | null} run
 * @property {number | null} testAccuracy
 * @property {string | null} error
 */
/**
 * @typedef {object} State
 * @property {{id: number, name: string, frames: number}[]} classes
 * @property {{classes: number, frames: number}} least
 * @property {{classes: number, frames: number}} limits
 * @property {string | null} noTransfer
 * @property {Job | null} job
 * @property {Model | null} taught
 */

await startShell("teach");
await loadModel();
/** @type {State} */
let state = await ask("/api/teach");
/** @type {Map<number, Pupil>} */
const pupils = new Map();
const viewer = new Viewer();
const reader = new Reader(viewer.camera, "/api/teach/frame", see, () => {});
/** @type {Meters | null} */
let meters = null;
let metersOf = "";
let isPolling = false;

/** @type {import("./pupil.js").Teacher} */
const teacher = {
  frame: () => viewer.camera.frame(SIDE),
  say: (key, values) => put(byId("record-status"), key, values),
  rename: async (id, name) => {
    const wrong = await attempt(`/api/teach/classes/${id}`, { json: { name } });
    if (wrong === null) await refresh();
    return wrong;
  },
  remove: async (id) => {
    await erase(`/api/teach/classes/${id}`);
    byId("add").focus();
  },
  clear: (id) => erase(`/api/teach/classes/${id}/frames`),
  latest: async (id) => {
    /** @type {string[]} */
    let found = [];
    await attempt(`/api/teach/classes/${id}/frames`, {}, ({ pictures }) => (found = pictures));
    return found;
  },
  add: async (id, hold, picture) => {
    const path = `/api/teach/classes/${id}/frames?hold=${hold}`;
    let status = 0;
    const wrong = await attempt(
      path,
      { picture },
      ({ frames }) => {
        const found = state.classes.find((one) => one.id === id);
        if (found) found.frames = frames;
        pupils.get(id)?.setCount(frames);
        showEnough();
      },
      (found) => (status = found),
    );
    return wrong === null ? null : { reason: wrong, isOfPicture: OF_PICTURES.includes(status) };
  },
};

/**
 * @param {string} path
 * @param {Parameters<typeof ask>[1]} what
 * @param {(answer: any) => void} [then]
 * @param {(status: number) => void} [otherwise]
 * @returns {Promise<string | null>} Error text, or null.
 */
async function attempt(path, what, then = () => {}, otherwise = () => {}) {
  try {
    then(await ask(path, what));
    return null;
  } catch (error) {
    if (error instanceof ApiError) {
      otherwise(error.status);
      return reason(error);
    }
    if (error instanceof Offline) return t("offline");
    throw error;
  }
}

/** @param {string} path */
async function erase(path) {
  await attempt(path, { method: "DELETE" });
  await refresh();
}

async function refresh() {
  await attempt("/api/teach", {}, (answer) => (state = answer));
  render();
}

function render() {
  for (const [id, pupil] of pupils) {
    if (state.classes.some((one) => one.id === id)) continue;
    pupil.stop();
    pupil.root.remove();
    pupils.delete(id);
  }
  state.classes.forEach(({ id, name, frames }, place) => {
    let pupil = pupils.get(id);
    if (!pupil) {
      pupil = new Pupil(id, name, frames, teacher);
      pupils.set(id, pupil);
      byId("classes").append(pupil.root);
    }
    pupil.name = name;
    pupil.setCount(frames);
    pupil.render(place);
    pupil.allow(viewer.camera.isOn);
  });
  /** @type {HTMLButtonElement} */ (byId("add")).disabled = state.classes.length >= state.limits.classes;
  byId("preset").hidden = state.classes.some(({ frames }) => frames > 0);
  showEnough();
  showJob();
  showTaught();
}

/** @returns {boolean} Whether a training can start. */
function showEnough() {
  const { least, classes } = state;
  const poor = classes.find(({ frames }) => frames < least.frames);
  const enough = byId("enough");
  if (classes.length < least.classes) put(enough, "teach.needClasses", { classes: least.classes });
  else if (poor) put(enough, "teach.needFrames", { name: poor.name, frames: least.frames });
  else put(enough, "teach.enough");
  const can = classes.length >= least.classes && !poor && state.job?.state !== "running";
  for (const id of ["quick", "full"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = !can;
  return can;
}

function showJob() {
  const { job } = state;
  byId("no-transfer").hidden = state.noTransfer === null;
  byId("quick-way").hidden = state.noTransfer !== null;
  byId("recipe-row").hidden = state.noTransfer !== null;
  byId("full").className = state.noTransfer === null ? "secondary" : "primary";
  byId("job").hidden = job === null;
  if (!job) return;
  const isRunning = job.state === "running";
  byId("stop").hidden = !isRunning;
  const progress = /** @type {HTMLProgressElement} */ (byId("progress"));
  progress.hidden = !isRunning;
  if (job.steps && job.stage === "learning") progress.value = job.step / job.steps;
  else progress.removeAttribute("value");
  byId("job-text").textContent = sentence(job);
  byId("job-text").classList.toggle("error", job.state === "failed");
  // Without the step numbers, because a screen reader would announce every step.
  const spoken = isRunning ? t(`teach.stage.${job.stage}`) : sentence(job);
  if (byId("status").textContent !== spoken) byId("status").textContent = spoken;
  byId("job-photos").hidden = !job.photos;
  if (job.photos) put(byId("job-photos"), "teach.photos", { photos: job.photos });
  if (isRunning) void poll();
}

/** @param {Job} job @returns {string} */
function sentence(job) {
  const { step, steps, run, testAccuracy } = job;
  if (job.state === "failed") return t("teach.failed", { message: job.error ?? "" });
  if (job.state === "stopped") return run ? t("teach.stoppedRun", { run }) : t("teach.stopped");
  if (job.state === "done") {
    if (!run) return t("teach.done.quick");
    if (testAccuracy === null) return t("teach.done.full", { run });
    return t("teach.done.tested", { run, accuracy: percent(testAccuracy) });
  }
  if (job.stage !== "learning" || !steps) return t(`teach.stage.${job.stage}`);
  if (job.accuracy === null) return t("teach.stage.step", { step, steps });
  return t("teach.stage.stepMore", { step, steps, accuracy: percent(job.accuracy) });
}

async function poll() {
  if (isPolling) return;
  isPolling = true;
  await sleep(POLL_MS);
  isPolling = false;
  await refresh();
}

function showTaught() {
  const { taught } = state;
  byId("try").hidden = taught === null;
  byId("again").hidden = !taught?.saved;
  if (!taught) return;
  const same = `${taught.name} ${taught.classes.join("/")}`;
  if (same !== metersOf) {
    metersOf = same;
    meters = new Meters(byId("meters"), taught.classes);
    meters.show(null);
  }
  byId("play-it").hidden = !taught.playable;
  byId("use-it").className = taught.playable ? "secondary" : "primary";
  if (taught.saved && state.job?.run) put(byId("again"), "teach.again", { run: state.job.run });
  if (viewer.camera.isOn && !isReading) {
    isReading = true;
    reader.start();
  }
}

let isReading = false;

/** @param {import("./agreement.js").Reading} reading */
function see(reading) {
  meters?.show(reading.probabilities);
  const seen = byId("seen");
  seen.hidden = false;
  seen.dataset.state = reading.state;
  seen.textContent = reading.state === "sure" ? reading.label : capital(t(`state.${reading.state}`));
}

/** @param {"quick" | "transfer" | "cnn"} how */
async function learn(how) {
  const wrong = await attempt("/api/teach/learn", { json: { how } }, (answer) => (state.job = answer.job));
  if (wrong) put(byId("record-status"), "error", { message: wrong });
  render();
  byId(wrong ? "learn-title" : "stop").focus();
}

/** @param {string} name */
async function addClass(name) {
  const wrong = await attempt("/api/teach/classes", { json: { name } });
  if (wrong) put(byId("record-status"), "error", { message: wrong });
}

/** @returns {string} A default name that no class has yet. */
function freeName() {
  for (let number = 1; ; number++) {
    const name = t("teach.defaultName", { number });
    if (!state.classes.some((one) => one.name.toLowerCase() === name.toLowerCase())) return name;
  }
}

/** @param {string} page */
async function use(page) {
  const wrong = await attempt("/api/model", { json: { source: "taught" } });
  if (wrong === null) location.assign(page);
}

byId("add").addEventListener("click", async () => {
  await addClass(freeName());
  await refresh();
  const last = state.classes[state.classes.length - 1];
  const { input } = /** @type {Pupil} */ (pupils.get(last.id));
  input?.focus();
  input?.select();
});
byId("preset").addEventListener("click", async () => {
  for (const { id } of state.classes) await attempt(`/api/teach/classes/${id}`, { method: "DELETE" });
  for (const hand of ["rock", "paper", "scissors"]) await addClass(t(`hand.${hand}`));
  await addClass(t("teach.nothing"));
  await refresh();
});
byId("quick").addEventListener("click", () => void learn("quick"));
byId("full").addEventListener("click", () => {
  const recipe = /** @type {HTMLSelectElement} */ (byId("recipe")).value;
  void learn(state.noTransfer === null && recipe === "transfer" ? "transfer" : "cnn");
});
byId("stop").addEventListener("click", () => void attempt("/api/teach/stop", { json: {} }));
byId("play-it").addEventListener("click", () => void use("/"));
byId("use-it").addEventListener("click", () => void use("/photos"));
viewer.addEventListener("change", () => {
  if (!viewer.camera.isOn) {
    reader.stop();
    isReading = false;
  }
  render();
});
connection.addEventListener("back", () => void refresh());
document.addEventListener(LANGUAGE_CHANGED, render);

if (!state.classes.length) {
  await addClass(freeName());
  state = await ask("/api/teach");
  await addClass(freeName());
  state = await ask("/api/teach");
}
render();
openPage();
await viewer.begin();
