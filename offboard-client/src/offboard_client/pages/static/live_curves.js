// The last half minute of an episode as curves: what was measured and commanded, round trips, and why the arm did it.
import { el } from "./base.js";
import { Plot, RUNGS } from "./plots.js";

const WINDOW = 30; // seconds that are seen
const DRAWN = 200; // milliseconds from one drawing to the next, at least

export class Curves {
  constructor() {
    this.strip = el("canvas", { className: "strip", height: 14, "aria-hidden": "true" });
    this.holder = el("div", {});
    this.more = el("details", { hidden: true }, el("summary", {}, "everything else that is measured"));
    this.node = el("section", { className: "plots", "aria-label": "curves" }, this.strip, this.holder, this.more);
    this.names = -1;
    this.drawn = 0;
    this.plots = [];
    this.begin();
  }

  begin() {
    this.data = { curves: {}, answers: [], rungs: [] };
    this.now = 0;
  }

  take(state) {
    if (this.names !== state.names) this.lay(state);
    for (const event of state.events) {
      if (event.begin !== undefined) this.begin();
      else if (event.rung) this.ran(event);
      else if (event.at) this.point(event);
      else this.data.answers.push(event);
    }
    this.now = Math.max(this.now, state.phase === "playing" || state.phase === "over" ? state.seconds : 0);
    const old = this.now - 2 * WINDOW;
    while (this.data.answers.length && this.data.answers[0].t < old) this.data.answers.shift();
    while (this.data.rungs.length && this.data.rungs[0][1] < old) this.data.rungs.shift();
    if (performance.now() - this.drawn > DRAWN && !document.hidden) this.draw();
  }

  point({ t, at, v }) {
    const curve = (this.data.curves[at] = this.data.curves[at] || { t: [], v: [] });
    if (curve.v.length !== v.length) Object.assign(curve, { t: [], v: v.map(() => []) });
    curve.t.push(t);
    v.forEach((value, i) => curve.v[i].push(value));
    if (curve.t.length > 64 && curve.t[32] < t - 2 * WINDOW) {
      curve.t.splice(0, 32);
      curve.v.forEach((column) => column.splice(0, 32));
    }
  }

  ran({ t, rung, for: lasts }) {
    const last = this.data.rungs[this.data.rungs.length - 1];
    if (last && last[2] === rung) last[1] = t + lasts;
    else {
      if (last) last[1] = Math.max(last[1], t);
      this.data.rungs.push([t, t + lasts, rung]);
    }
  }

  lay(state) {
    this.names = state.names;
    const line = (topic, more) => (data) => (topic && data.curves[topic] ? [{ ...data.curves[topic], ...more }] : []);
    const made = state.plots.map((plot) => {
      const parts = [line(plot.measured), line(plot.commanded, { dash: plot.measured ? [5, 3] : [], steps: true, width: 1.6 })];
      const found = new Plot(plot.measured && plot.commanded ? `${plot.name} against ${plot.against}` : plot.name, (data) => parts.flatMap((part) => part(data)));
      found.labels = plot.labels;
      found.pair = Boolean(plot.commanded);
      return found;
    });
    const trips = new Plot("round trips, ms", (data) => [{ t: data.answers.map((a) => a.t), v: [data.answers.map((a) => a.ms)] }], true);
    trips.labels = ["ms"];
    const asked = state.latencies ? [trips] : [];
    this.plots = [...made.filter((plot) => plot.pair), ...asked, ...made.filter((plot) => !plot.pair)];
    this.timed = Boolean(asked.length);
    this.holder.replaceChildren(...made.filter((plot) => plot.pair).map((plot) => plot.node), ...asked.map((plot) => plot.node));
    const others = made.filter((plot) => !plot.pair);
    this.more.hidden = !others.length;
    this.more.replaceChildren(this.more.firstChild, ...others.map((plot) => plot.node));
  }

  draw() {
    this.drawn = performance.now();
    const window_ = [Math.max(0, this.now - WINDOW), Math.max(this.now, 10)];
    for (const plot of this.plots) {
      plot.fill(this.data);
      plot.draw(window_);
      plot.tell(this.now);
    }
    const wide = this.strip.clientWidth;
    if (!wide) return;
    if (this.strip.width !== wide) this.strip.width = wide;
    const context = this.strip.getContext("2d");
    context.clearRect(0, 0, wide, 14);
    const x = (t) => ((t - window_[0]) / (window_[1] - window_[0])) * wide;
    for (const [from, to, rung] of this.data.rungs) {
      context.fillStyle = RUNGS[rung] || "#7c8798";
      context.fillRect(x(from), 4, Math.max(1, x(to) - x(from)), 8);
    }
  }
}
