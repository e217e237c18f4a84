/** Whether what the machine shows is what it had sealed. */

/**
 * @param {string} commitment Hexadecimal SHA-256 that was shown before.
 * @param {string} nonce
 * @param {string} hand
 * @returns {Promise<boolean | null>} Null where the browser cannot compute it.
 */
export async function holds(commitment, nonce, hand) {
  if (!globalThis.crypto?.subtle) return null;
  const sealed = new TextEncoder().encode(`${nonce}:${hand}`);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", sealed));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === commitment;
}
