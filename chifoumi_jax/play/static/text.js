/** The texts of the pages, in the user's language. */

import { recall } from "./storage.js";

/** @type {Record<string, Record<string, string>>} */
let tables = {};
let language = "en";

/** Fired on `document` when the language has changed. */
export const LANGUAGE_CHANGED = "chifoumi:language";

/** Load the texts, and choose the language that the user chose last time, or the browser's. */
export async function loadTexts() {
  tables = await (await fetch("/static/strings.json")).json();
  const kept = recall("language");
  const wanted = [kept, ...navigator.languages].map((tag) => (tag ?? "").slice(0, 2));
  setLanguage(wanted.find((tag) => tag in tables) ?? "en");
}

/** @returns {string} A language code of two letters. */
export function currentLanguage() {
  return language;
}

/** @param {string} chosen Language code of one of the tables. */
export function setLanguage(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  translate(document);
  document.dispatchEvent(new Event(LANGUAGE_CHANGED));
}

/**
 * @param {string} key
 * @param {Record<string, string | number>} [values] Values for the {placeholders} in the text.
 * @returns {string}
 */
export function t(key, values = {}) {
  const text = tables[language][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/**
 * @param {{code: string, message: string}} error The server's error.
 * @returns {string} Its text in the user's language; the server's message if there is no translation.
 */
export function reason({ code, message }) {
  const key = `error.${code}`;
  return key in tables[language] ? t(key) : message;
}

/**
 * Put a text into an element, so that it changes with the language.
 * @param {Element} element
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function put(element, key, values) {
  element.setAttribute("data-i18n", key);
  if (values) element.setAttribute("data-i18n-values", JSON.stringify(values));
  else element.removeAttribute("data-i18n-values");
  const text = t(key, values);
  // Set only if it changed, because a live region announces its text whenever it is set.
  if (element.textContent !== text) element.textContent = text;
}

/** @param {ParentNode} root */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-i18n]")) {
    const values = JSON.parse(element.getAttribute("data-i18n-values") ?? "{}");
    element.textContent = t(element.getAttribute("data-i18n") ?? "", values);
  }
  for (const element of root.querySelectorAll("[data-i18n-label]")) {
    element.setAttribute("aria-label", t(element.getAttribute("data-i18n-label") ?? ""));
  }
}

/** @param {string} text @returns {string} The text with a capital first letter. */
export function capital(text) {
  return text.charAt(0).toLocaleUpperCase(language) + text.slice(1);
}

/** @param {number} share @returns {string} The share as a percentage, in the language's format. */
export function percent(share) {
  return new Intl.NumberFormat(language, { style: "percent" }).format(share);
}
