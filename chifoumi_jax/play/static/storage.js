/** Stores the user's settings in the browser, if the browser allows it. */

/** @param {string} key @returns {string | null} */
export function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    // Browsers that block cookies block this storage too.
    return null;
  }
}

/** @param {string} key @param {string} value */
export function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // The setting then lasts until the page is closed.
  }
}
