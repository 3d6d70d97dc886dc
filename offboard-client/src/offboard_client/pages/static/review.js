// What people say of an episode: kept at once, beside the recording, and never over what another has said meanwhile.
import { clock, complain, el, sent, verdict } from "./base.js";

export const OUTCOMES = ["success", "partial", "fail", "stall", "unsafe"];

/** What came of the trial of an evaluation, in words. */
function judged(trial) {
  const { text } = verdict({ trial });
  return [`the trial was judged: ${text}`, ...trial.tags.map((tag) => `#${tag}`), trial.note].filter(Boolean).join(" · ");
}

export class Review {
  /** `tags`: those that other episodes have; `player`: of which clips are. */
  constructor(episode, tags, player) {
    const { id, review, trial } = episode;
    Object.assign(this, { id, player, marks: { from: null, to: null }, waiting: Promise.resolve(), wrong: null });
    this.seen = { outcome: null, items: null, items_total: null, note: "", tags: [], clips: [], ...review };
    this.buttons = OUTCOMES.map((outcome, i) => el("button", {
      type: "button", className: `verdict ${outcome}`, "data-outcome": outcome, title: `key ${i + 1}`,
      onclick: () => this.outcome(outcome),
    }, el("kbd", {}, String(i + 1)), outcome));
    const number = (label) => el("input", { type: "number", min: 0, step: 1, inputMode: "numeric", "aria-label": label, onchange: () => this.items() });
    this.done = number("items done");
    this.total = number("items in all");
    this.chips = el("span", { className: "chips" });
    this.known = el("datalist", { id: "tags" }, ...tags.map((tag) => el("option", { value: tag })));
    this.tag = el("input", {
      type: "text", list: "tags", maxLength: 64, placeholder: "failure mode", "aria-label": "add a tag", onchange: () => this.addTag(),
      onkeydown: (event) => { if (event.key === "Enter") this.addTag(); },
    });
    this.note = el("textarea", {
      rows: 3, maxLength: 10000, placeholder: "note", "aria-label": "note", onchange: () => this.say({ note: this.note.value }),
      oninput: () => {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.say({ note: this.note.value }), 1200);
        this.status.textContent = "…";
      },
    });
    this.status = el("p", { className: "quiet", role: "status" });
    this.conflict = el("div", { className: "conflict", role: "alert", hidden: true });
    this.clips = el("ul", { className: "clips" });
    this.range = el("span", { className: "quiet" });
    this.label = el("input", { type: "text", maxLength: 200, placeholder: "what it shows", "aria-label": "label of the clip" });
    const button = (text, title, act) => el("button", { type: "button", title, onclick: act }, text);
    this.node = el("section", { className: "review", "aria-label": "score" },
      el("h2", {}, "score"),
      trial ? el("p", { className: "quiet", "data-trial": trial.outcome }, judged(trial)) : null,
      el("div", { className: "outcomes", role: "group", "aria-label": "outcome" }, ...this.buttons),
      el("div", { className: "row" }, el("label", {}, "items ", this.done), el("label", {}, " of ", this.total)),
      el("div", { className: "row" }, this.chips, this.tag, this.known),
      this.note, this.conflict, this.status,
      el("h2", {}, "clips"),
      el("div", { className: "row" }, button("from here", "key i", () => this.mark("from")), button("to here", "key o", () => this.mark("to")), this.range),
      el("div", { className: "row" }, this.label, button("keep clip", "key c", () => this.keep())),
      this.clips);
    this.fill();
    if (review && review.error) this.fail(new Error(review.error));
  }

  key(event) {
    const number = Number(event.key);
    if (number >= 1 && number <= OUTCOMES.length) this.outcome(OUTCOMES[number - 1]);
    else if (event.key === "n") this.note.focus();
    else if (event.key === "t") this.tag.focus();
    else if (event.key === "i") this.mark("from");
    else if (event.key === "o") this.mark("to");
    else if (event.key === "c") this.keep();
    else return false;
    return true;
  }

  outcome(outcome) {
    this.say({ outcome: this.seen.outcome === outcome ? null : outcome });
  }

  items() {
    const whole = (input) => (input.value === "" ? null : Number(input.value));
    this.say({ items: whole(this.done), items_total: whole(this.total) });
  }

  addTag() {
    const tag = this.tag.value.trim();
    this.tag.value = "";
    if (tag && !this.seen.tags.includes(tag)) this.send({ tags: { [tag]: true } });
  }

  mark(edge) {
    this.marks[edge] = this.player.t;
    const { from, to } = this.marks;
    this.range.textContent = `${from === null ? "–" : clock(from, 1)} to ${to === null ? "–" : clock(to, 1)}`;
    this.player.marked(this.marks, this.seen.clips);
  }

  async keep() {
    const { from, to } = this.marks;
    if (from === null || to === null || from >= to) {
      this.fail(new Error("mark where the clip begins (i) and, later, where it ends (o)"));
      return;
    }
    await this.send({ clip: { from, to, label: this.label.value } });
    if (this.wrong) return;
    this.label.value = this.range.textContent = "";
    this.marks = { from: null, to: null };
    this.player.marked(this.marks, this.seen.clips);
  }

  /** Words: only what differs, and what it was when it was last seen here. */
  say(words, force = false) {
    clearTimeout(this.timer);
    const fresh = Object.fromEntries(Object.entries(words).filter(([name, value]) => force || this.seen[name] !== value));
    if (!Object.keys(fresh).length) { this.status.textContent = ""; return Promise.resolve(); }
    const seen = Object.fromEntries(Object.keys(fresh).map((name) => [name, this.seen[name]]));
    return this.send({ words: fresh, seen });
  }

  send(what) {
    this.status.textContent = "keeping it …";
    const turn = this.waiting.then(async () => {
      try {
        const answer = await sent(`api/episodes/${this.id}/review`, what);
        const { review, lost } = await answer.json();
        this.wrong = null;
        this.seen = review;
        if (lost.length) this.disagree(what.words, lost);
        else {
          this.conflict.hidden = true;
          this.status.textContent = "kept";
        }
        this.fill(lost);
        complain(null);
        if (this.changed) this.changed(review);
      } catch (error) {
        this.fail(error, what);
      }
    });
    this.waiting = turn;
    return turn;
  }

  fail(error, what) {
    this.wrong = error;
    this.status.replaceChildren(el("span", { className: "bad" }, error.message),
      what ? el("button", { type: "button", onclick: () => this.send(what) }, "try again") : "");
  }

  disagree(words, lost) {
    const show = (value) => (value === null || value === "" ? "nothing" : String(value));
    this.status.textContent = "not kept";
    this.conflict.hidden = false;
    this.conflict.replaceChildren(
      el("p", {}, "Somebody else has said something else meanwhile:"),
      el("ul", {}, ...lost.map((name) => el("li", {}, el("b", {}, name), `: “${show(this.seen[name])}”; yours is “${show(words[name])}”`))),
      el("button", { type: "button", onclick: () => this.say(words, true) }, "keep mine"),
      el("button", { type: "button", onclick: () => { this.conflict.hidden = true; this.status.textContent = ""; this.fill(); } }, "keep theirs"),
      lost.includes("note") ? el("button", {
        type: "button", onclick: () => this.say({ note: `${this.seen.note}\n${words.note}` }, true),
      }, "keep both notes") : "",
    );
  }

  /** Show what is known, but not over what is being written, nor over what is not agreed upon. */
  fill(lost = []) {
    const { outcome, items, items_total, note, tags, clips } = this.seen;
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.outcome === outcome));
    const put = (input, value, name) => {
      if (document.activeElement !== input && !lost.includes(name)) input.value = value === null || value === undefined ? "" : value;
    };
    put(this.done, items, "items");
    put(this.total, items_total, "items_total");
    put(this.note, note, "note");
    this.chips.replaceChildren(...tags.map((tag) => el("span", { className: "tag" }, tag, el("button", {
      type: "button", "aria-label": `remove the tag ${tag}`, onclick: () => this.send({ tags: { [tag]: false } }),
    }, "×"))));
    this.clips.replaceChildren(...clips.map((clip) => el("li", { "data-clip": clip.id },
      el("button", { type: "button", onclick: () => this.player.play(clip.seconds[0], clip.seconds[1]) },
        `▶ ${clock(clip.seconds[0], 1)}–${clock(clip.seconds[1], 1)}`),
      el("span", {}, clip.label),
      el("a", {
        href: `api/episodes/${this.id}/clip.mp4?from=${clip.seconds[0]}&to=${clip.seconds[1]}`, download: "",
      }, "mp4"),
      el("button", { type: "button", "aria-label": "remove the clip", onclick: () => this.send({ dropped: [clip.id] }) }, "×"))));
    this.player.marked(this.marks, clips);
  }

  /** What is not kept yet is, before this is left. */
  close() {
    if (this.note.value !== (this.seen.note || "") && this.conflict.hidden) this.say({ note: this.note.value });
  }
}
