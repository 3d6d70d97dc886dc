// A run while it goes on: asked for all that is new, again and again, and told what is pressed.
import { ask, clock, complain, el, sent } from "./base.js";
import { Cameras } from "./live_cameras.js";
import { Curves } from "./live_curves.js";
import { Said } from "./live_said.js";
import { RUNGS } from "./plots.js";

const EVERY = 100; // milliseconds from one question to the next, at least
const HIDDEN = 1000; // the same while nobody sees the page
const PATIENCE = 4000; // milliseconds for an answer
const LAST = 0.1; // seconds that may be left of an episode's time where no command is played any more: a control period
const ARMED = 3000; // milliseconds in which a second press of what cannot be taken back counts
const PHASES = {
  opening: "robot and policy are made ready", ready: "ready", starting: "starting", playing: "playing", over: "over", closed: "the run is over",
};
const KEYS = [
  ["space, Esc", "hold the arm"], ["g", "let it go on"], ["s", "start"], ["1 … 5", "success, partial, fail, stall, unsafe"],
  ["r r", "throw the episode away, or annul the trial"], ["Enter", "keep the judgement of a trial"], ["n t", "write a note, a tag"],
  ["o", "show the start picture, or not"], ["?", "these keys"],
];

class Live {
  constructor(main) {
    Object.assign(this, { main, state: null, since: 0, names: -1, armed: {}, acting: false });
    this.cameras = new Cameras();
    this.curves = new Curves();
    this.said = new Said((body) => this.say(body));
    const big = (what, text, key, act) => el("button", { type: "button", className: `big ${what}`, "data-do": what, title: `key ${key}`, onclick: act }, text, el("kbd", {}, key));
    this.hold = big("hold", "HOLD", "space", () => this.act("hold"));
    this.resume = big("resume", "go on", "g", () => this.act("resume"));
    this.start = big("start", "start", "s", () => this.begin());
    this.reset = big("reset", "throw away", "r", () => this.twice("reset"));
    this.submit = big("submit", "keep, and on", "Enter", () => this.keep());
    this.missing = el("p", { className: "quiet missing", role: "status", hidden: true });
    this.quit = el("button", { type: "button", "data-do": "quit", onclick: () => this.twice("quit") }, "end the run");
    this.outcomes = el("div", { className: "outcomes", role: "group", "aria-label": "outcome" });
    this.pill = el("span", { className: "pill", role: "status" });
    this.rung = el("span", { className: "pill rung" });
    this.timer = el("span", { className: "timer" });
    this.title = el("h1", {});
    this.trial = el("span", { className: "quiet trial" });
    this.trips = el("p", { className: "quiet trips" });
    this.news = el("p", { className: "news", role: "alert", hidden: true });
    this.queue = el("ol", { className: "queue" });
    this.queued = el("details", { className: "card", hidden: true, open: matchMedia("(min-width: 761px)").matches }, el("summary", {}, "trials"), this.queue);
    this.help = el("dialog", {}, el("h2", {}, "keys"),
      el("dl", {}, ...KEYS.flatMap(([key, text]) => [el("dt", {}, key), el("dd", {}, text)])),
      el("form", { method: "dialog" }, el("button", {}, "close")));
    main.replaceChildren(
      el("header", { className: "live-top" }, this.title, this.trial, this.timer, this.pill, this.rung),
      this.news,
      el("div", { className: "live-stage" },
        el("div", { className: "seen" }, this.cameras.node, this.trips),
        el("aside", {},
          el("div", { className: "acts" }, this.hold, this.resume, this.start),
          this.cameras.tools,
          this.outcomes,
          this.said.node, this.missing,
          el("div", { className: "row ends" }, this.submit, this.reset), this.queued,
          el("div", { className: "row" }, this.quit, el("button", { type: "button", title: "keys: ?", onclick: () => this.help.showModal() }, "keys")))),
      this.curves.node, this.help);
    document.addEventListener("keydown", (event) => this.key(event));
    // A button that was clicked keeps no focus: Enter, which keeps a trial, would press it again.
    main.addEventListener("click", (event) => { const pressed = event.detail && event.target.closest("button, summary"); if (pressed) pressed.blur(); });
    this.loop();
  }

  async loop() {
    for (;;) {
      const began = performance.now();
      try {
        const wide = document.hidden ? 0 : this.cameras.width();
        const query = new URLSearchParams({ since: this.since, have: this.cameras.have(), width: wide });
        const answer = await ask(`api/now?${query}`, { signal: AbortSignal.timeout(PATIENCE) });
        await this.take(await answer.arrayBuffer(), began);
        this.lost(null);
      } catch (error) {
        this.lost(error);
      }
      const spent = performance.now() - began;
      await new Promise((next) => setTimeout(next, Math.max(10, (document.hidden || this.away ? HIDDEN : EVERY) - spent)));
    }
  }

  /** Whether the run answers; what is shown is old where it does not, and the arm does as it did. */
  lost(error) {
    this.away = Boolean(error);
    const over = this.state && this.state.phase === "closed";
    if (!error) complain(null);
    else if (over) complain("the run is over, and its page with it");
    else {
      complain(`no answer from the run since ${clock((Date.now() - this.heard) / 1000 || 0)}: an episode goes on as it was. Stop it at the terminal (Ctrl-C), or by the arm's own switch`);
    }
    if (!error) this.heard = Date.now();
    this.main.classList.toggle("away", this.away);
    if (error && this.state) this.enable();
  }

  async take(buffer, began) {
    const size = new DataView(buffer).getUint32(4, true);
    const state = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
    if (this.state && this.state.run !== state.run) location.reload();
    this.since = state.upto;
    this.curves.take(state);
    if (!(this.done > began)) this.show(state);  // else it is from before what was just done
    await this.cameras.take(state, buffer, 8 + size);
  }

  show(state) {
    this.state = state;
    const { phase, hold } = state;
    const seen = state.instruction || state.task;
    const command = state.trial === undefined ? "offboard run" : "offboard evaluate";
    this.title.textContent = seen || command;
    document.title = `${hold ? "HELD" : PHASES[phase]} – ${command}`;
    document.documentElement.style.fontSize = `${15 * (state.scale || 1)}px`;
    const trial = state.trial;
    this.trial.textContent = trial ? `${trial.label} from start ${trial.start}, ${trial.number} of ${trial.of}` : state.number ? `episode ${state.number}` : "";
    const limit = state.limit && state.limit < 86400 ? ` / ${clock(state.limit)}` : "";
    this.timer.textContent = phase === "playing" || phase === "over" ? `${clock(state.seconds, 1)}${limit}` : "";
    const late = phase === "playing" && state.limit && state.seconds > state.limit - LAST;
    const became = phase === "over" ? this.became(state) : late ? "its time is over: the last answer is awaited" : PHASES[phase];
    this.pill.textContent = hold ? `HELD (${became})` : became;
    this.pill.className = `pill ${hold ? "held" : phase}`;
    this.rung.hidden = phase !== "playing" || !state.rung;
    this.rung.textContent = `rung: ${(state.rung || "").replace("_", " ")}`;
    this.rung.style.backgroundColor = RUNGS[state.rung] || "";
    const l = state.latencies;
    const ms = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(1)}`);
    const stages = Object.entries(state.stages || {}).map(([name, value]) => `${name} ${ms(value)}`).join(" · ");
    this.trips.textContent = (l ? `round trips, ms: last ${ms(l.last)}, p50 ${ms(l.p50)}, p99 ${ms(l.p99)}${stages ? `; ${stages}` : ""}` : "") +
      (state.unanswered ? ` — the last was not answered: ${state.unanswered}` : "");
    const key = state.outcomes.join();
    if (this.outcomes.dataset.of !== key) {
      this.outcomes.dataset.of = key;
      this.outcomes.replaceChildren(...state.outcomes.map((outcome, i) => el("button", {
        type: "button", className: `big verdict ${outcome}`, "data-outcome": outcome, title: `key ${i + 1}`, onclick: () => this.judge(outcome),
      }, outcome, el("kbd", {}, String(i + 1)))));
    }
    for (const button of this.outcomes.children) button.setAttribute("aria-pressed", String(state.review.outcome === button.dataset.outcome));
    this.said.show(state);
    this.list(state.queue || []);
    this.enable();
  }

  became(state) {
    if (!state.kept) return "thrown away";
    if (state.failure) return `failed: ${state.failure[0]}: ${state.failure[1]}`;
    if (state.trial && state.trial.annulled) return "over: annulled";
    if (state.review.outcome) return `over: ${state.review.outcome}`;
    return state.success === true ? "over: done, says the task" : state.success === false ? "over: not done, says the task" : "over: not scored";
  }

  list(queue) {
    const text = JSON.stringify(queue);
    if (this.listed === text) return;
    this.listed = text;
    this.queued.hidden = !queue.length;
    const done = queue.filter((each) => each.outcome).length;
    this.queued.firstChild.textContent = `trials: ${done} of ${queue.length}`;
    this.queue.replaceChildren(...queue.map((each) => el("li", { className: each.now ? "now" : "", value: each.number },
      `${each.label} from start ${each.start} `, el("span", { className: `verdict ${each.outcome || "open"}` }, each.outcome || (each.now ? "now" : "")))));
  }

  may(what) {
    return Boolean(this.state && !this.away && this.state.may.includes(what));
  }

  enable() {
    const scored = this.state.trial && this.state.phase === "over";
    this.hold.disabled = this.state.phase === "closed";  // tried even where nothing answers
    this.hold.setAttribute("aria-pressed", String(this.state.hold));
    this.resume.hidden = !this.state.hold;
    this.resume.disabled = !this.may("resume");
    this.start.hidden = !["opening", "ready", "starting", "over"].includes(this.state.phase) || scored;
    this.start.disabled = !this.may("start") || !this.cameras.confirmed(this.state);
    for (const button of this.outcomes.children) button.disabled = !this.may("outcome");
    this.reset.hidden = !this.may("reset");
    const annuls = Boolean(this.state.trial);
    this.reset.setAttribute("aria-pressed", String(Boolean(annuls && this.state.trial.annulled)));
    const missing = this.state.trial && this.state.trial.missing;
    this.submit.hidden = !this.state.may.includes("submit") && !missing;
    const unanswered = scored && this.state.trial.unanswered;
    this.missing.hidden = !missing && !unanswered;
    this.missing.textContent = [missing, unanswered && `nothing answered any more when it was ended (${unanswered}): whatever is said, it counts as an error, and is played again`].filter(Boolean).join(" — ");
    this.submit.disabled = !this.may("submit");
    this.quit.hidden = !this.state.may.includes("quit");
    const away = annuls ? (this.state.trial.annulled ? "do not annul" : "annul the trial") : "throw away";
    this.reset.firstChild.textContent = this.armed.reset ? `press again: ${away}` : away;
    this.quit.textContent = this.armed.quit ? "press again to end the run" : "end the run";
  }

  // -- what is pressed ---------------------------------------------------------------------------------
  async act(what, more = {}, may = this.may(what)) {
    if (what !== "hold" && (this.acting || !may)) return;
    this.acting = this.acting || what !== "hold";
    try {
      // As it was shown when it was pressed: the run refuses what was meant for another moment.
      const { run, turn, holds } = this.state || {};
      const answer = await sent("api/do", { do: what, run, turn, holds, ...more });
      const said = await answer.json();
      this.tell(said.error || null);
      this.done = performance.now();
      if (said.phase) this.show({ ...this.state, ...said });
    } catch (error) {
      this.tell(what === "hold" ? `NOT HELD: ${error.message}` : error.message);
    } finally {
      if (what !== "hold") this.acting = false;
    }
  }

  async begin() {
    await this.said.flush();
    if (!this.start.hidden && !this.cameras.confirmed(this.state)) this.tell(this.cameras.asks());
    else if (!this.start.disabled && !this.start.hidden) this.act("start", { scene: this.cameras.stamp(this.state) });
  }

  async keep() {
    await this.said.flush();
    // Whether it may be kept with what was just said, the run knows better than what is shown of a moment before.
    this.act("submit", { items: this.said.counts() }, !this.away && !this.submit.hidden);
  }

  judge(outcome) {
    const again = this.state.phase === "over" && this.state.review.outcome === outcome;
    this.act("outcome", { outcome: again ? null : outcome });
  }

  /** What cannot be taken back is pressed twice. */
  twice(what) {
    if (!this.may(what)) return;
    if (this.armed[what] === this.state.turn) {
      delete this.armed[what];
      this.act(what);
      return;
    }
    this.armed[what] = this.state.turn;
    this.enable();
    setTimeout(() => { delete this.armed[what]; this.enable(); }, ARMED);
  }

  async say(body) {
    const answer = await sent("api/review", { run: this.state.run, ...body });
    const said = await answer.json();
    this.done = performance.now();
    return said;
  }

  tell(text) {
    this.news.hidden = !text;
    this.news.textContent = text || "";
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.help.open) return;
    if (event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const number = Number(event.key);
    const outcome = this.state && this.state.outcomes[number - 1];
    const acts = {
      " ": () => this.act("hold"), Escape: () => this.act("hold"), g: () => this.act("resume"), s: () => this.begin(), r: () => this.twice("reset"),
      n: () => this.said.note.focus(), t: () => this.said.tag.focus(), o: () => this.cameras.toggle(), "?": () => this.help.showModal(),
    };
    if (event.key === "Enter" && !event.target.closest("button, summary")) acts.Enter = () => this.keep();
    if (outcome) acts[event.key] = () => this.judge(outcome);
    if (!acts[event.key]) return;
    event.preventDefault();  // a space never presses the button that has the focus
    if (!event.repeat) acts[event.key]();
  }
}

new Live(document.getElementById("main"));
