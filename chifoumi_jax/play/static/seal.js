/** Checks that the machine's hand is the one that it committed to. */

/**
 * @param {string} commitment Hexadecimal SHA-256 that was shown before the round.
 * @param {string} nonce
 * @param {string} hand
 * @returns {Promise<boolean | null>} Whether the commitment matches; null if the browser cannot
 *   compute SHA-256.
 */
export async function holds(commitment, nonce, hand) {
  if (!globalThis.crypto?.subtle) return null;
  const sealed = new TextEncoder().encode(`${nonce}:${hand}`);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", sealed));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === commitment;
}
