/** Bars that show probabilities. */

import { percent } from "./text.js";

/** One bar for each class, inside an element. */
export class Meters {
  /**
   * @param {HTMLElement} root
   * @param {string[]} classes
   * @param {(name: string) => string} [title] Gives the text that is shown for a class.
   */
  constructor(root, classes, title = (name) => name) {
    this.title = title;
    this.rows = new Map(classes.map((name) => [name, row(root)]));
    root.replaceChildren(...Array.from(this.rows.values(), (parts) => parts.root));
    this.rename();
  }

  rename() {
    for (const [name, parts] of this.rows) parts.name.textContent = this.title(name);
  }

  /** @param {Record<string, number> | null} probabilities */
  show(probabilities) {
    const best = probabilities ? Math.max(...Object.values(probabilities)) : 2;
    for (const [name, parts] of this.rows) {
      const value = probabilities?.[name] ?? 0;
      parts.fill.style.width = `${100 * value}%`;
      parts.value.textContent = probabilities ? percent(value) : "–";
      parts.root.classList.toggle("best", value === best);
    }
  }
}

/** @param {HTMLElement} root */
function row(root) {
  const make = (/** @type {string} */ name) => {
    const element = root.ownerDocument.createElement("span");
    element.className = name;
    return element;
  };
  const parts = { root: make("meter"), name: make("name"), track: make("track"), fill: make("fill"), value: make("value") };
  parts.fill.style.display = "block";
  parts.track.append(parts.fill);
  parts.root.append(parts.name, parts.track, parts.value);
  return parts;
}
