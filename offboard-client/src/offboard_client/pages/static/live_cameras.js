// The cameras of a run, and over them how its start looked when somebody set it up for the first time.
import { el } from "./base.js";

const OLD = 1.0; // seconds after which a picture is said to be old

export class Cameras {
  constructor() {
    this.shown = new Map(); // camera → its figure
    this.node = el("div", { className: "cameras" }, el("p", { className: "quiet" }, "no camera was seen yet"));
    this.over = el("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.5, "aria-label": "how much of the start picture is seen", oninput: () => this.lay() });
    this.check = el("input", { type: "checkbox", onchange: () => { this.ticked = this.check.checked ? this.of : null; } });
    this.words = el("span", {});
    this.box = el("label", { className: "row" }, this.check, this.words);
    this.awaited = el("p", { className: "quiet", role: "status", hidden: true });
    this.tools = el("div", { className: "card scene", hidden: true }, this.box, this.awaited,
      el("label", { className: "row" }, "start picture ", this.over));
  }

  width() {
    const widest = Math.max(160, ...[...this.shown.values()].map((each) => each.canvas.clientWidth));
    return Math.min(1280, 160 * Math.ceil((widest * Math.min(2, devicePixelRatio || 1)) / 160));
  }

  have() {
    return [...this.shown].filter(([, each]) => each.number >= 0).map(([name, each]) => `${encodeURIComponent(name)}:${each.number}`).join();
  }

  figure(name) {
    if (!this.shown.has(name)) {
      if (!this.shown.size) this.node.replaceChildren();
      const canvas = el("canvas", { width: 320, height: 240, role: "img", "aria-label": `camera ${name}`, "data-camera": name });
      const reference = el("img", { className: "reference", alt: "", hidden: true });
      const age = el("span", { className: "age" }, "no picture yet");
      const each = { canvas, reference, age, number: -1, start: "", laid: false };
      reference.onload = () => this.loaded(each, true);
      reference.onerror = () => this.loaded(each, false);
      this.shown.set(name, each);
      this.node.append(el("figure", {}, canvas, reference, el("figcaption", {}, name), age));
    }
    return this.shown.get(name);
  }

  /** What came, decoded before the next is asked for: a slow browser asks less often. */
  async take(state, buffer, at) {
    for (const [name, , age] of state.cameras) {
      const each = this.figure(name);
      each.age.hidden = age < OLD || !["playing", "ready", "over"].includes(state.phase);
      each.age.textContent = `${age.toFixed(age < 10 ? 1 : 0)} s old`;
    }
    const files = state.sent.map(([name, number, size]) => {
      const data = new Blob([new Uint8Array(buffer, at, size)], { type: "image/jpeg" });
      at += size;
      return createImageBitmap(data).then((bitmap) => [this.figure(name), number, bitmap]);
    });
    for (const [each, number, bitmap] of await Promise.all(files)) {
      if (each.canvas.width !== bitmap.width || each.canvas.height !== bitmap.height) {
        each.canvas.width = bitmap.width;
        each.canvas.height = bitmap.height;
      }
      each.canvas.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
      each.number = number;
      each.canvas.dataset.number = String(number);
    }
    this.compare(state);
  }

  /** The start of the trial, while it is set up. */
  compare(state) {
    const scene = state.scene;
    const wanted = Boolean(scene && ["opening", "ready", "over"].includes(state.phase));
    this.tools.hidden = !wanted;
    const of = wanted ? `${scene.start}/${scene.stamp}/${state.number}` : "";
    if (this.of !== of) {
      this.of = of;
      this.check.checked = false;
      this.ticked = null;
    }
    this.wanted = wanted ? scene.cameras : [];
    // A camera that has shown nothing yet, too: nobody confirms a picture that was not seen.
    for (const name of this.wanted) this.figure(name);
    for (const [name, each] of this.shown) {
      const start = this.wanted.includes(name) ? of : "";
      if (each.start === start) continue;
      Object.assign(each, { start, laid: false, failed: false });
      if (start) each.reference.src = `api/starts/${scene.start}/${encodeURIComponent(name)}?stamp=${scene.stamp}`;
      else each.reference.removeAttribute("src");
    }
    if (wanted) {
      this.words.textContent = scene.cameras.length ? "the scene is as in the start picture" : `the scene is set up: start ${scene.start} shall always look so`;
      this.over.parentElement.hidden = !scene.cameras.length;
    }
    this.lay();
  }

  /** A start picture has come, or cannot be had. */
  loaded(each, laid) {
    Object.assign(each, { laid: laid && each.start !== "", failed: !laid && each.start !== "" });
    this.lay();
  }

  lay() {
    for (const each of this.shown.values()) {
      each.reference.hidden = !each.laid || this.hidden || Number(this.over.value) === 0;
      each.reference.style.opacity = this.over.value;
    }
    // The box that confirms them is there once all are.
    const missing = this.missing();
    this.box.hidden = missing.length > 0;
    this.awaited.hidden = !missing.length;
    this.awaited.textContent = this.absent();
  }

  /** The cameras whose start pictures are not there. */
  missing() {
    return (this.wanted || []).filter((name) => !this.shown.get(name).laid);
  }

  absent() {
    const missing = this.missing();
    const failed = missing.filter((name) => this.shown.get(name).failed);
    return failed.length ? `the start picture of ${failed.join(", ")} cannot be shown: load the page anew` : missing.length ? `the start picture of ${missing.join(", ")} is awaited` : "";
  }

  toggle() {
    this.hidden = !this.hidden;
    this.lay();
  }

  confirmed(state) {
    return !state.scene || (Boolean(this.ticked) && this.ticked === this.of && !this.missing().length);
  }

  /** What is to be done before that. */
  asks() {
    return this.missing().length ? `nothing begins yet: ${this.absent()}` : `nothing begins yet: set the scene up, and tick “${this.words.textContent}”`;
  }

  /** Which start picture was confirmed. */
  stamp(state) {
    return state.scene && this.confirmed(state) ? state.scene.stamp : null;
  }
}
