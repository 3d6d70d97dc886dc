// What is said of an episode while it goes on and after: counts, tags and a note, and never over what another says.
import { el } from "./base.js";

const WRITING = 800; // milliseconds without a key after which a note is said

export class Said {
  /** `send`: hands it in, and comes to {review, lost} or {error}. */
  constructor(send) {
    Object.assign(this, { send, seen: null, number: -1, waiting: Promise.resolve(), sending: 0 });
    const number = (label) => el("input", { type: "number", min: 0, step: 1, inputMode: "numeric", "aria-label": label, onchange: () => this.items() });
    this.done = number("items done");
    this.total = number("items in all");
    this.chips = el("span", { className: "chips" });
    this.tag = el("input", {
      type: "text", maxLength: 64, placeholder: "failure mode", "aria-label": "add a tag", onchange: () => this.add(),
      onkeydown: (event) => { if (event.key === "Enter") this.add(); },
    });
    this.note = el("textarea", {
      rows: 2, maxLength: 10000, placeholder: "note", "aria-label": "note", onchange: () => this.say({ note: this.note.value }),
      oninput: () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.say({ note: this.note.value }), WRITING); },
    });
    const more = (input, by) => el("button", { type: "button", tabIndex: -1, "aria-label": `${by > 0 ? "one more" : "one less"}: ${input.ariaLabel}`, onclick: () => {
      input.value = Math.max(0, Number(input.value || 0) + by);
      this.items();
    } }, by > 0 ? "+" : "−");
    this.status = el("p", { className: "quiet", role: "status" });
    this.node = el("section", { className: "card said", "aria-label": "what is said of it", hidden: true },
      el("div", { className: "row counts" }, "items ", more(this.done, -1), this.done, more(this.done, 1), " of ", more(this.total, -1), this.total, more(this.total, 1)),
      el("div", { className: "row" }, this.chips, this.tag),
      this.note, this.status);
  }

  show(state) {
    this.node.hidden = !state.number || !["playing", "over"].includes(state.phase) || !state.kept;
    const other = state.number !== this.number;
    if (other) {
      this.flush();  // what was still being written is of the episode before
      this.number = state.number;
      this.problem = null;
    }
    if (other || !this.sending) this.seen = state.review;  // else what is on its way is not known there yet
    const { items, items_total, note, tags } = this.seen;
    const put = (input, value) => {
      if (document.activeElement !== input && !this.problem) input.value = value === null || value === undefined ? "" : value;
    };
    put(this.done, items);
    put(this.total, items_total);
    put(this.note, note);
    const key = JSON.stringify(tags);
    if (this.tagged !== key) {
      this.tagged = key;
      this.chips.replaceChildren(...tags.map((tag) => el("span", { className: "tag" }, tag, el("button", {
        type: "button", "aria-label": `remove the tag ${tag}`, onclick: () => this.hand({ tags: { [tag]: false } }),
      }, "×"))));
    }
    const kept = state.saved === null ? "it is in the run's report only: nothing is recorded (--output-dir)" : state.saved ? "kept beside the recording" : "…";
    this.status.textContent = this.problem || state.problem || (state.trial || state.phase === "playing" ? "" : kept);
    this.status.className = this.problem || state.problem ? "bad" : "quiet";
  }

  /** Hand in a note that is still being written. */
  flush() {
    if (this.timer) this.say({ note: this.note.value });
    return this.waiting;
  }

  /** How many items were done, of how many, as it is shown. */
  counts() {
    return [this.done, this.total].map((input) => (input.value === "" ? null : Number(input.value)));
  }

  items() {
    const [items, items_total] = this.counts();
    this.say({ items, items_total });
  }

  add() {
    const tag = this.tag.value.trim();
    this.tag.value = "";
    if (tag && !this.seen.tags.includes(tag)) this.hand({ tags: { [tag]: true } });
  }

  say(words) {
    clearTimeout(this.timer);
    this.timer = null;
    const fresh = Object.fromEntries(Object.entries(words).filter(([name, value]) => this.seen[name] !== value));
    if (!Object.keys(fresh).length) return;
    this.hand({ words: fresh, seen: Object.fromEntries(Object.keys(fresh).map((name) => [name, this.seen[name]])) });
  }

  hand(body) {
    const number = this.number;
    this.sending += 1;
    this.seen = { ...this.seen, ...body.words };
    this.waiting = this.waiting.then(async () => {
      let problem = null;
      try {
        const said = await this.send({ number, ...body });
        if (said.error) problem = said.error;
        else if (said.lost.length) problem = `somebody else has said otherwise meanwhile (${said.lost.join(", ")}): theirs stays; say it again to change it`;
        if (said.review && number === this.number && this.sending === 1) this.seen = said.review;
      } catch (error) {
        problem = error.message;
      }
      this.sending -= 1;
      if (number === this.number) this.problem = problem;
      if (problem) {
        this.status.textContent = problem;
        this.status.className = "bad";
        setTimeout(() => { if (this.problem === problem) this.problem = null; }, 4000);
      }
    });
  }
}
