// One episode: its cameras in step, the scrubber, the keys of a video player, curves, and what people say of it.
import { asked, clock, complain, day, el, played, verdict } from "./base.js";
import { Film } from "./film.js";
import { Plots, RUNGS } from "./plots.js";
import { Review } from "./review.js";
import { chosen, episodes, refresh } from "./table.js";

const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4, 8];
const KEYS = [
  ["space, k", "play or pause"], ["← →", "a second back or on (Shift: five)"], [", .", "a frame back or on"],
  ["Home, End", "the beginning, the end"], ["< >", "slower, faster"], ["1 … 5", "success, partial, fail, stall, unsafe"],
  ["i o c", "a clip begins, ends, is kept"], ["n t", "write a note, a tag"], ["[ ]", "the episode before, the next"],
  ["Esc", "back to the list"], ["?", "these keys"],
];

class Player {
  constructor(main, episode) {
    Object.assign(this, { main, episode, t: 0, speed: 1, playing: false, until: null, last: null, buffering: false });
    this.duration = episode.duration;
    this.again = () => { if (!this.ticking && !this.gone) { this.ticking = true; requestAnimationFrame((now) => this.tick(now)); } };
    this.films = episode.cameras.map((camera) =>
      new Film(episode.id, camera, el("canvas", { width: 320, height: 240, role: "img", "aria-label": `camera ${camera}`, "data-camera": camera }), this.again));
    this.build();
    this.plots.show(0, Math.min(this.duration, 1e9));
    this.again();
  }

  build() {
    const { episode } = this;
    this.said = el("span", { role: "status" });
    this.judged();
    const rows = chosen();
    const at = rows.findIndex((row) => row.id === episode.id);
    const way = (row, text, title) => el("a", { href: row ? `#/${row.id}` : "#/", className: "button", title, "aria-disabled": String(!row) }, text);
    [this.before, this.after] = [rows[at - 1], rows[at + 1]];
    this.button = el("button", { type: "button", className: "play", title: "space", onclick: () => this.toggle() }, "▶");
    this.time = el("span", { className: "time" });
    this.slider = el("input", {
      type: "range", min: 0, max: Math.max(this.duration, 0.001), step: "any", value: 0, "aria-label": "time",
      oninput: () => this.seek(Number(this.slider.value)),
    });
    this.strip = el("canvas", { className: "strip", height: 14, "aria-hidden": "true" });
    this.pace = el("select", { "aria-label": "speed", onchange: () => this.faster(Number(this.pace.value)) },
      ...SPEEDS.map((speed) => el("option", { value: speed, selected: speed === 1 }, `${speed}×`)));
    this.text = el("p", { className: "quiet task" });
    this.wait = el("span", { className: "quiet", role: "status" });
    this.help = el("dialog", {}, el("h2", {}, "keys"),
      el("dl", {}, ...KEYS.flatMap(([key, text]) => [el("dt", {}, key), el("dd", {}, text)])),
      el("form", { method: "dialog" }, el("button", {}, "close")));
    this.plots = new Plots(episode.id, this.duration, episode.plots, (t) => this.seek(t));
    this.plots.loaded = (data) => {
      if (!this.rungs || !data.sampled) this.rungs = this.rungs && this.rungs.length > data.rungs.length ? this.rungs : data.rungs;
      this.texts = data.texts;
      this.paint();
    };
    const tags = [...new Set(episodes().flatMap((row) => [...((row.review || {}).tags || []), ...((row.trial || {}).tags || [])]))].sort();
    this.review = new Review(episode, tags, this);
    this.review.changed = (review) => {
      const row = episodes().find((each) => each.id === episode.id);
      if (row) row.review = review;
      this.episode.review = review;
      this.judged();
    };
    const cameras = this.films.length
      ? this.films.map((film) => el("figure", {}, film.canvas, el("figcaption", {}, film.camera)))
      : [el("p", { className: "quiet" }, "This episode has no pictures: it was recorded without cameras, or without video and what was sent.")];
    document.title = `${episode.task || episode.name} – offboard replay`;
    this.main.replaceChildren(
      el("header", { className: "top" },
        el("a", { href: "#/", className: "button", title: "Esc" }, "← episodes"), way(this.before, "[", "the episode before"), way(this.after, "]", "the next episode"),
        el("h1", {}, episode.task || episode.name),
        this.said),
      el("p", { className: "quiet" }, [day(episode.at), episode.model, episode.codec, played(episode), episode.name].filter(Boolean).join(" · "),
        episode.missed ? ` · ${episode.missed} events were not recorded` : ""),
      el("div", { className: "stage" },
        el("div", { className: "watch" },
          el("div", { className: "cameras" }, ...cameras),
          el("div", { className: "transport" }, this.button, el("div", { className: "scrub" }, this.strip, this.slider), this.time, this.pace,
            el("button", { type: "button", title: "keys: ?", onclick: () => this.help.showModal() }, "?")),
          el("div", { className: "row" }, this.text, this.wait)),
        this.review.node),
      this.plots.node, facts(episode), this.help);
    this.sized = new ResizeObserver(() => this.paint());
    this.sized.observe(this.strip);
  }

  /** What came of it, as far as anybody has said by now. */
  judged() {
    const { text, kind, by } = verdict(this.episode);
    this.said.className = `verdict ${kind}${by === "scored here" ? " scored" : ""}`;
    this.said.title = by || "as recorded";
    this.said.textContent = text;
  }

  close() {
    this.gone = true;
    this.review.close();
    this.sized.disconnect();
    this.plots.close();
    this.films.forEach((film) => film.close());
  }

  toggle() {
    if (!this.playing && this.t >= this.duration - 1e-3) this.t = 0;
    this.playing = !this.playing;
    this.until = null;
    this.last = null;
    this.again();
  }

  /** From one time on, to another if it is given. */
  play(from, to = null) {
    this.seek(from);
    [this.playing, this.until, this.last] = [true, to, null];
    this.again();
  }

  seek(t) {
    this.t = Math.min(this.duration, Math.max(0, t));
    this.until = null;
    this.last = null;
    this.again();
  }

  faster(speed) {
    this.speed = speed;
    this.pace.value = String(speed);
  }

  /** One frame, of whatever camera. */
  frame(step) {
    this.playing = false;
    const times = [...new Set(this.films.flatMap((film) => film.times(this.t)))].sort((a, b) => a - b);
    const next = step > 0 ? times.find((t) => t > this.t + 1e-4) : times.reverse().find((t) => t < this.t - 1e-4);
    this.seek(next === undefined ? this.t + step / 30 : next);
  }

  tick(now) {
    this.ticking = false;
    if (this.gone) return;
    const waits = this.films.filter((film) => !film.ready(this.t));
    waits.forEach((film) => film.want(this.t));
    if (this.playing) {
      if (this.last !== null && !waits.length) this.t += ((now - this.last) / 1000) * this.speed;
      this.last = now;
      const end = this.until === null ? this.duration : this.until;
      if (this.t >= end) [this.t, this.playing, this.until] = [end, false, null];
      // The next seconds, so that playing does not wait for them.
      for (const film of this.films) {
        let ahead = this.t;
        for (let i = 0; i < 2 + this.speed; i++) {
          const reel = film.reel(ahead);
          if (!reel || reel.end >= this.duration) break;
          ahead = reel.end + 1e-4;
          if (!film.reel(ahead)) { film.want(ahead); break; }
        }
      }
    }
    this.films.forEach((film) => film.draw(this.t));
    const wrong = this.films.find((film) => film.failed);
    this.wait.textContent = wrong ? `${wrong.camera}: ${wrong.failed.message}` : waits.length ? "reading …" : "";
    this.wait.className = wrong ? "bad" : "quiet";
    this.button.textContent = this.playing ? "❚❚" : "▶";
    this.button.setAttribute("aria-label", this.playing ? "pause" : "play");
    this.slider.value = String(this.t);
    this.time.textContent = `${clock(this.t, 1)} / ${clock(this.duration, 1)}`;
    const text = (this.texts || []).filter(([, at]) => at <= this.t + 1e-6).pop();
    this.text.textContent = text ? `${text[0]}: ${text[2]}` : "";
    this.plots.point(this.t);
    if (this.playing) this.again();
  }

  /** Why the arm did what it did, and what is marked, over the whole time. */
  paint() {
    const wide = this.strip.clientWidth;
    if (!wide) return;
    this.strip.width = wide;
    const context = this.strip.getContext("2d");
    const x = (t) => (t / Math.max(this.duration, 1e-3)) * wide;
    for (const [from, to, rung] of this.rungs || []) {
      context.fillStyle = RUNGS[rung] || "#7c8798";
      context.fillRect(x(from), 8, Math.max(1, x(to) - x(from)), 6);
    }
    context.fillStyle = "#3b82f6";
    for (const clip of this.clips || []) context.fillRect(x(clip.seconds[0]), 0, Math.max(2, x(clip.seconds[1]) - x(clip.seconds[0])), 5);
    const { from, to } = this.marks || {};
    context.fillStyle = "#d39b15";
    for (const mark of [from, to]) if (mark !== null && mark !== undefined) context.fillRect(x(mark) - 1, 0, 2, 14);
  }

  marked(marks, clips) {
    Object.assign(this, { marks, clips });
    if (this.strip) this.paint();
  }

  key(event) {
    const step = event.shiftKey ? 5 : 1;
    const speed = SPEEDS.indexOf(this.speed);
    const acts = {
      " ": () => this.toggle(), k: () => this.toggle(), ArrowLeft: () => this.seek(this.t - step), ArrowRight: () => this.seek(this.t + step),
      ",": () => this.frame(-1), ".": () => this.frame(1), Home: () => this.seek(0), End: () => this.seek(this.duration),
      "<": () => this.faster(SPEEDS[Math.max(0, speed - 1)]), ">": () => this.faster(SPEEDS[Math.min(SPEEDS.length - 1, speed + 1)]),
      "[": () => { if (this.before) location.hash = `#/${this.before.id}`; }, "]": () => { if (this.after) location.hash = `#/${this.after.id}`; },
      Escape: () => { location.hash = "#/"; }, "?": () => this.help.showModal(),
    };
    if (acts[event.key]) acts[event.key]();
    else return this.review.key(event);
    return true;
  }
}

function facts(episode) {
  const { outcome } = episode;
  const plain = (value) => (value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value, null, 1) : String(value));
  const rows = [
    ["as recorded", outcome.success === null || outcome.success === undefined ? "nobody could tell" : outcome.success ? "success" : "no success"],
    ["failure", outcome.failure && outcome.failure.join(": ")], ["scores", outcome.scores && Object.keys(outcome.scores).length ? outcome.scores : null],
    ["round trips, ms", outcome.round_trips_ms], ["exchanges", outcome.exchanges], ["steps", outcome.steps], ["seconds on each rung", outcome.rungs],
    ["seed", episode.seed], ["wall time", `${clock(episode.wall, 1)}`], ["command", episode.run && episode.run.command],
    ["handshake", episode.meta], ["shadow, which drove nothing", episode.shadow], ["run", episode.run],
  ].filter(([, value]) => value !== null && value !== undefined);
  return el("details", { className: "facts" }, el("summary", {}, "what it was"),
    el("dl", {}, ...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, typeof value === "object" ? el("pre", {}, plain(value)) : plain(value))])));
}

export async function showPlayer(main, id) {
  main.replaceChildren(el("p", { className: "quiet" }, "opening the episode …"));
  const back = el("p", {}, el("a", { href: "#/", className: "button" }, "← episodes"));
  try {
    if (!episodes().length) await refresh();
    const player = new Player(main, await asked(`api/episodes/${id}`));
    complain(null);
    return player;
  } catch (error) {
    complain(error);
    main.replaceChildren(back);
    return { close() {}, key: (event) => event.key === "Escape" && ((location.hash = "#/"), true) };
  }
}
