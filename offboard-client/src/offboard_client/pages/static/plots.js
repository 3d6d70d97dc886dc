// Curves over the episode's time: what was measured, commanded and answered, on canvases that share one window.
import { asked, clock, complain, el } from "./base.js";

const COLOURS = ["#3b82f6", "#e4572e", "#2fa866", "#a855f7", "#d39b15", "#0ea5a5", "#d6409f", "#7c8798"];
export const RUNGS = {
  playing: "#2fa866", rest: "#8fbf3f", hold: "#d39b15", safe_action: "#e4842e", fault: "#d33a3a", led: "#3b82f6",
};
const LEFT = 46;
const RIGHT = 8;
const HIGH = 120;
const LEAST = 0.01; // a plot is at least so high: what stands still is a line, and no spikes

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A canvas with one set of curves, the line where the player is, and what they are there. */
export class Plot {
  constructor(title, lines, bars) {
    Object.assign(this, { title, lines, bars, hidden: new Set() });
    this.canvas = el("canvas", { height: HIGH, role: "img", "aria-label": `plot of ${title}` });
    this.head = el("div", { className: "playhead", hidden: true });
    this.legend = el("div", { className: "legend" });
    this.area = el("div", { className: "area" }, this.canvas, this.head);
    this.node = el("figure", { className: "plot", "data-plot": title }, el("figcaption", {}, el("b", {}, title), this.legend), this.area);
    this.values = [];
  }

  fill(data) {
    this.data = data;
    this.node.hidden = !this.bars && !this.lines(data).length; // words, for example
    const width = Math.max(0, ...this.lines(data).map((line) => line.v.length));
    if (this.values.length !== width) {
      this.values = Array.from({ length: width }, (_, i) => el("span", { className: "value" }));
      this.legend.replaceChildren(...this.values.map((value, i) => {
        const button = el("button", {
          type: "button", "aria-pressed": "true", title: "show or hide", onclick: () => {
            if (!this.hidden.delete(i)) this.hidden.add(i);
            button.setAttribute("aria-pressed", String(!this.hidden.has(i)));
            this.draw();
          },
        }, el("i", { className: `c${i % COLOURS.length}` }), this.labels && this.labels[i] ? this.labels[i] : width > 1 ? String(i) : "", value);
        return button;
      }));
    }
  }

  draw(window_) {
    if (window_) this.window = window_;
    if (!this.data || !this.window) return;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const wide = this.area.clientWidth;
    if (!wide) return;
    if (this.canvas.width !== Math.round(wide * ratio)) {
      this.canvas.width = Math.round(wide * ratio);
      this.canvas.height = Math.round(HIGH * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, wide, HIGH);
    const [from, to] = this.window;
    const x = (t) => LEFT + ((t - from) / (to - from)) * (wide - LEFT - RIGHT);
    const lines = this.lines(this.data);
    let low = Infinity;
    let high = -Infinity;
    for (const line of lines) {
      line.v.forEach((column, i) => {
        if (this.hidden.has(i)) return;
        column.forEach((value, k) => {
          if (value !== null && line.t[k] >= from && line.t[k] <= to) { low = Math.min(low, value); high = Math.max(high, value); }
        });
      });
    }
    if (this.bars) low = 0;
    if (!(high >= low)) [low, high] = [0, 1];
    else if (!this.bars && high - low < LEAST) [low, high] = [(low + high - LEAST) / 2, (low + high + LEAST) / 2];
    const margin = (high - low) * 0.06 || Math.abs(high) * 0.06 || 0.5;
    if (!this.bars) low -= margin;
    high += margin;
    const bottom = HIGH - 16;
    const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - 4);
    this.axes(context, wide, x, low, high, from, to, bottom);
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, wide - LEFT - RIGHT, bottom + 1);
    context.clip();
    for (const answer of this.data.answers) {
      context.strokeStyle = answer.failure || answer.dropped ? style("--bad") : style("--edge");
      context.globalAlpha = 0.9;
      context.lineWidth = 1;
      context.beginPath();
      if (this.bars) {
        context.strokeStyle = answer.failure || answer.dropped ? style("--bad") : COLOURS[0];
        context.lineWidth = 2;
        context.moveTo(x(answer.t), bottom);
        context.lineTo(x(answer.t), y(answer.ms || 0));
      } else {
        context.moveTo(x(answer.t), 0);
        context.lineTo(x(answer.t), bottom);
      }
      context.stroke();
    }
    for (const answer of (this.bars && this.data.shadow) || []) {
      context.fillStyle = answer.failure ? style("--bad") : COLOURS[1];
      context.fillRect(x(answer.t) - 2, y(answer.ms || 0) - 2, 4, 4);
    }
    if (!this.bars) lines.forEach((line) => this.curve(context, line, x, y));
    context.restore();
  }

  curve(context, line, x, y) {
    context.setLineDash(line.dash || []);
    context.lineWidth = line.width || 1.4;
    context.globalAlpha = line.alpha || 1;
    line.v.forEach((column, i) => {
      if (this.hidden.has(i)) return;
      context.strokeStyle = COLOURS[i % COLOURS.length];
      context.beginPath();
      let pen = false;
      column.forEach((value, k) => {
        if (value === null) { pen = false; return; }
        if (pen) {
          if (line.steps) context.lineTo(x(line.t[k]), y(column[k - 1]));
          context.lineTo(x(line.t[k]), y(value));
        } else context.moveTo(x(line.t[k]), y(value));
        pen = true;
      });
      context.stroke();
    });
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  axes(context, wide, x, low, high, from, to, bottom) {
    context.fillStyle = style("--quiet");
    context.strokeStyle = style("--edge");
    context.lineWidth = 1;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    const digits = Math.min(4, Math.max(0, 2 - Math.floor(Math.log10(high - low))));
    const figures = (value) => (Math.abs(value) >= 1e6 ? value.toExponential(1) : String(Number(value.toFixed(digits)) || 0));
    for (const share of [0, 0.5, 1]) {
      const at = bottom - share * (bottom - 4);
      context.fillText(figures(low + share * (high - low)), LEFT - 6, Math.max(7, at), LEFT - 8);
      context.beginPath();
      context.moveTo(LEFT, at);
      context.lineTo(wide - RIGHT, at);
      context.stroke();
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "center";
    const steps = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600];
    const step = steps.find((each) => (to - from) / each <= wide / 70) || 7200;
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      const text = step < 1 ? t.toFixed(step < 0.1 ? 2 : 1) : clock(t);
      context.fillText(text, Math.min(x(t), wide - context.measureText(text).width / 2), HIGH - 3);
    }
  }

  /** Where the player is. */
  point(t) {
    if (!this.window) return;
    const [from, to] = this.window;
    const wide = this.area.clientWidth;
    this.head.hidden = t < from || t > to;
    this.head.style.transform = `translateX(${LEFT + ((t - from) / (to - from)) * (wide - LEFT - RIGHT)}px)`;
  }

  /** What the first of its lines is there. */
  tell(t) {
    if (!this.data) return;
    const line = this.lines(this.data)[0];
    if (!line || !line.t.length) return;
    let at = line.t.findIndex((each) => each > t);
    at = at < 0 ? line.t.length - 1 : Math.max(0, at - 1);
    this.values.forEach((value, i) => {
      const number = line.v[i] && line.v[i][at];
      value.textContent = number === null || number === undefined ? "" : ` ${Number(number.toPrecision(4))}`;
    });
  }

  time(event) {
    const box = this.area.getBoundingClientRect();
    const [from, to] = this.window;
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    return from + Math.min(1, Math.max(0, share)) * (to - from);
  }
}

/** All plots of an episode. `seek`: told where somebody clicked. */
export class Plots {
  constructor(id, duration, plots, seek) {
    Object.assign(this, { id, duration, seek, window: [0, Math.max(duration, 0.001)], closed: new AbortController() });
    const line = (topic, more) => (data) => (topic && data.curves[topic] ? [{ ...data.curves[topic], ...more }] : []);
    const chunks = (topic, more) => (data) => ((topic && data.chunks[topic]) || []).map((chunk) => ({ ...chunk, width: 1, ...more }));
    const made = plots.map((plot) => {
      const parts = [
        line(plot.measured), line(plot.commanded, { dash: plot.measured ? [5, 3] : [], steps: true, width: 1.6 }), chunks(plot.answered, { alpha: 0.35 }),
        chunks(plot.shadow, { alpha: 0.6, dash: [1, 3] }),
      ];
      const title = plot.measured && plot.commanded ? `${plot.name} against ${plot.against}` : plot.name;
      const found = new Plot(title, (data) => parts.flatMap((part) => part(data)));
      found.labels = plot.labels;
      found.pair = Boolean(plot.commanded || plot.answered || plot.shadow);
      return found;
    });
    const bars = (answers) => ({ t: answers.map((a) => a.t), v: [answers.map((a) => a.ms)] });
    const trips = new Plot("round trips, ms", (data) => [bars(data.answers), ...(data.shadow.length ? [bars(data.shadow)] : [])], true);
    trips.labels = ["ms"];
    this.plots = [...made.filter((plot) => plot.pair), trips, ...made.filter((plot) => !plot.pair)];
    const more = made.filter((plot) => !plot.pair);
    this.note = el("p", { className: "quiet", role: "status" });
    const button = (text, title, act) => el("button", { type: "button", title, onclick: act }, text);
    this.node = el("section", { className: "plots", "aria-label": "curves" },
      el("div", { className: "tools" },
        button("+", "a shorter time (Shift and drag over a plot: that time)", () => this.zoom(0.5)),
        button("−", "a longer time", () => this.zoom(2)),
        button("all", "the whole episode", () => this.show(0, duration)),
        el("span", { className: "quiet key" }, "— measured  ╌ commanded  thin: as answered  │ an answer",
          plots.some((plot) => plot.shadow) ? "  ┈ as a shadow answered, which drove nothing; orange: its round trips" : "")),
      this.note,
      ...made.filter((plot) => plot.pair).map((plot) => plot.node), trips.node,
      more.length ? el("details", { open: more.length < 4, ontoggle: () => this.draw() },
        el("summary", {}, `everything else that was measured (${more.length})`), ...more.map((plot) => plot.node)) : null);
    this.plots.forEach((plot) => this.listen(plot));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.node);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", () => this.draw(), { signal: this.closed.signal });
  }

  listen(plot) {
    let from = null;
    plot.area.addEventListener("pointerdown", (event) => {
      from = event.shiftKey ? plot.time(event) : null;
      if (from === null) this.seek(plot.time(event));
      plot.area.setPointerCapture(event.pointerId);
    });
    plot.area.addEventListener("pointermove", (event) => {
      if (event.buttons && from === null && event.pointerType === "mouse") this.seek(plot.time(event));
    });
    plot.area.addEventListener("pointerup", (event) => {
      if (from !== null && Math.abs(plot.time(event) - from) > 0.02) this.show(...[from, plot.time(event)].sort((a, b) => a - b));
      from = null;
    });
    plot.area.addEventListener("dblclick", () => this.show(0, this.duration));
  }

  close() {
    this.closed.abort();
    this.resized.disconnect();
  }

  zoom(factor) {
    const half = (factor * (this.window[1] - this.window[0])) / 2;
    const middle = this.at >= this.window[0] && this.at <= this.window[1] ? this.at : (this.window[0] + this.window[1]) / 2;
    this.show(Math.max(0, middle - half), Math.min(this.duration, middle + half));
  }

  async show(from, to) {
    if (!(to - from > 0.01)) [from, to] = [from, from + 0.01];
    this.window = [from, to];
    const turn = (this.turn = (this.turn || 0) + 1);
    try {
      const data = await asked(`api/episodes/${this.id}/series?from=${from.toFixed(4)}&to=${to.toFixed(4)}`, { signal: this.closed.signal });
      if (turn !== this.turn) return;
      this.data = data;
      this.note.textContent = data.sampled ? "Of a long time only some seconds are drawn; a shorter time (+) shows all of it." : "";
      this.plots.forEach((plot) => plot.fill(data));
      this.draw();
      this.point(this.at || 0);
      if (this.loaded) this.loaded(data);
    } catch (error) {
      complain(error);
    }
  }

  draw() {
    this.plots.forEach((plot) => plot.draw(this.window));
    this.point(this.at || 0);
  }

  point(t) {
    this.at = t;
    if (this.window[1] < this.duration && t > this.window[1] && t < this.duration) {
      const length = this.window[1] - this.window[0];
      if (!this.turning) {
        this.turning = true;
        this.show(t, Math.min(this.duration, t + length)).finally(() => { this.turning = false; });
      }
    }
    this.plots.forEach((plot) => plot.point(t));
    const now = performance.now();
    if (!this.told || now - this.told > 120) {
      this.told = now;
      this.plots.forEach((plot) => plot.tell(t));
    }
  }
}
