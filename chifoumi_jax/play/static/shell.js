/** Setup that all pages share: texts, language, theme, and the banner for an unreachable server. */

import { ask, connection } from "./api.js";
import { recall, remember } from "./storage.js";
import { LANGUAGE_CHANGED, capital, currentLanguage, loadTexts, put, setLanguage, t } from "./text.js";

/**
 * @typedef {object} Model
 * @property {string} name
 * @property {string[]} classes
 * @property {number} imageSize
 * @property {number} threshold
 * @property {Record<string, "rock" | "paper" | "scissors">} hands
 * @property {string[]} nothing Classes that mean that no hand is in view.
 * @property {string[]} missing
 * @property {string[]} strange
 * @property {boolean} playable
 * @property {boolean} saved
 */

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  return /** @type {T} */ (document.getElementById(id));
}

/** @param {"play" | "photos" | "teach"} page */
export async function startShell(page) {
  chooseTheme();
  await loadTexts();
  const language = /** @type {HTMLSelectElement} */ (byId("language"));
  language.value = currentLanguage();
  language.addEventListener("change", () => {
    remember("language", language.value);
    setLanguage(language.value);
  });
  const name = () => (document.title = `${t(`title.${page}`)} – chifoumi`);
  document.addEventListener(LANGUAGE_CHANGED, name);
  name();
  watchConnection();
}

/** Enable the page's controls; before this, their event listeners are not set up. */
export function openPage() {
  byId("main").inert = false;
}

/** @returns {Promise<Model & {source: "given" | "taught", taught: Model | null}>} */
export async function loadModel() {
  const model = await ask("/api/model");
  put(byId("model-line"), "model", { name: model.name });
  return model;
}

/** @param {Model} model @param {string} name Name of a class. @returns {string} Its text for the page. */
export function titleOf(model, name) {
  const hand = model.hands[name] ?? (model.nothing.includes(name) ? "nothing" : null);
  return hand ? capital(t(`hand.${hand}`)) : name;
}

function chooseTheme() {
  const select = /** @type {HTMLSelectElement} */ (byId("theme"));
  const apply = () => {
    if (select.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = select.value;
  };
  select.value = recall("theme") ?? "auto";
  select.addEventListener("change", () => {
    remember("theme", select.value);
    apply();
  });
  apply();
}

function watchConnection() {
  const banner = byId("offline");
  connection.addEventListener("lost", () => {
    put(banner, "offline");
    banner.hidden = false;
  });
  connection.addEventListener("back", () => {
    put(banner, "online");
    setTimeout(() => (banner.hidden = true), 2500);
  });
}
