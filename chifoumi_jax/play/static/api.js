/** Requests to the server, and whether it can be reached. */

/** The server answered with an error. */
export class ApiError extends Error {
  /** @param {number} status @param {string} code @param {string} message */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The server did not answer. */
export class Offline extends Error {}

/** Fires "lost" when the server stops answering, and "back" when it answers again. */
export const connection = new EventTarget();

const PROBE_MS = 700;
const MOST_WAITS = 20;
let isLost = false;

/**
 * @param {string} path
 * @param {{method?: string, json?: object, picture?: Blob, signal?: AbortSignal}} [what] Without
 *   it, the request is a GET.
 * @returns {Promise<any>} The JSON of the response.
 * @throws {ApiError | Offline}
 */
export async function ask(path, { method, json, picture, signal } = {}) {
  const init = { method: method ?? "GET", ...request(json, picture), signal };
  for (let waits = 0; ; waits++) {
    const response = await reach(path, init);
    if (response.ok) return response.json();
    if (response.status === 429 && waits < MOST_WAITS) {
      await sleep(1000 * Number(response.headers.get("Retry-After") ?? 1));
      continue;
    }
    const { error } = await response.json().catch(() => ({ error: {} }));
    throw new ApiError(response.status, error?.code ?? "", error?.message ?? response.statusText);
  }
}

/** @param {number} ms @returns {Promise<void>} */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** @param {object} [json] @param {Blob} [picture] @returns {RequestInit} */
function request(json, picture) {
  if (picture) {
    const headers = { "Content-Type": picture.type || "image/unknown" };
    return { method: "POST", body: picture, headers };
  }
  if (!json) return {};
  const headers = { "Content-Type": "application/json" };
  return { method: "POST", body: JSON.stringify(json), headers };
}

/** @param {string} path @param {RequestInit} init @returns {Promise<Response>} */
async function reach(path, init) {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    lose();
    throw new Offline();
  }
}

function lose() {
  if (isLost) return;
  isLost = true;
  connection.dispatchEvent(new Event("lost"));
  void probe();
}

async function probe() {
  for (;;) {
    await sleep(PROBE_MS);
    const answer = await fetch("/api/health").catch(() => null);
    if (answer?.ok) break;
  }
  isLost = false;
  connection.dispatchEvent(new Event("back"));
}
