// One camera: a second of frames at a time from the server, drawn where the player's clock is.
import { ask } from "./base.js";

const KEPT = 48; // seconds of pictures as JPEG
const READY = 24; // pictures that are decoded

export class Film {
  constructor(id, camera, canvas, changed) {
    Object.assign(this, { id, camera, canvas, changed, reels: [], asking: new Map(), bitmaps: new Map(), shown: null });
    this.failed = null;
    this.closed = new AbortController();
  }

  close() {
    this.closed.abort();
    for (const bitmap of this.bitmaps.values()) if (bitmap.close) bitmap.close();
    this.bitmaps.clear();
  }

  reel(t) {
    return this.reels.find((reel) => reel.start <= t && t < reel.end) || null;
  }

  /** Fetch what is to be seen at this time, once. */
  want(t) {
    if (this.failed || this.reel(t)) return null;
    const key = Math.round(t * 20);
    if (!this.asking.has(key) && this.asking.size < 3) {
      const asking = this.fetch(t).finally(() => { this.asking.delete(key); this.changed(); });
      this.asking.set(key, asking);
    }
    return this.asking.get(key) || null;
  }

  async fetch(t) {
    const wide = Math.min(1280, Math.ceil((this.canvas.clientWidth || 320) * Math.min(2, devicePixelRatio || 1)));
    const query = new URLSearchParams({ camera: this.camera, t: t.toFixed(4), width: Math.ceil(wide / 160) * 160 });
    try {
      const answer = await ask(`api/episodes/${this.id}/film?${query}`, { signal: this.closed.signal });
      this.take(await answer.arrayBuffer(), t);
    } catch (error) {
      if (error.name !== "AbortError") this.failed = error;
    }
  }

  take(buffer, t) {
    const view = new DataView(buffer);
    const count = view.getUint32(4, true);
    const reel = { start: view.getFloat64(8, true), end: view.getFloat64(16, true), frames: [] };
    reel.end = Math.max(reel.end, t + 1e-3);
    let at = 24 + 12 * count;
    for (let i = 0; i < count; i++) {
      const size = view.getUint32(24 + 12 * i + 8, true);
      const data = new Blob([new Uint8Array(buffer, at, size)], { type: "image/jpeg" });
      reel.frames.push({ t: view.getFloat64(24 + 12 * i, true), data });
      at += size;
    }
    this.reels = this.reels.filter((other) => other.start !== reel.start);
    this.reels.push(reel);
    this.reels.sort((a, b) => a.start - b.start);
    while (this.reels.length > KEPT) this.reels.splice(this.reels[0].end < t - 5 ? 0 : this.reels.length - 1, 1);
  }

  /** The frame to be seen at this time; null where it is not here. */
  frame(t) {
    const reel = this.reel(t);
    if (!reel || !reel.frames.length) return null;
    let found = reel.frames[0];
    for (const frame of reel.frames) if (frame.t <= t + 1e-6) found = frame;
    return found;
  }

  /** Whether there is something to draw, or nothing to wait for. */
  ready(t) {
    return Boolean(this.failed || this.reel(t));
  }

  /** Times of the frames that are here, near a time. */
  times(t) {
    return this.reels.filter((reel) => reel.end > t - 3 && reel.start < t + 3).flatMap((reel) => reel.frames.map((f) => f.t));
  }

  draw(t) {
    const frame = this.frame(t);
    if (!frame || frame === this.shown) return;
    const bitmap = this.bitmap(frame);
    const reel = this.reel(t);
    const at = reel.frames.indexOf(frame);
    for (const next of reel.frames.slice(at + 1, at + 5)) this.bitmap(next);
    if (!bitmap || bitmap instanceof Promise) return;
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.canvas.getContext("2d").drawImage(bitmap, 0, 0);
    this.canvas.dataset.t = frame.t.toFixed(3);
    this.shown = frame;
  }

  bitmap(frame) {
    if (!this.bitmaps.has(frame)) {
      const making = createImageBitmap(frame.data).then(
        (bitmap) => {
          if (this.closed.signal.aborted || this.bitmaps.get(frame) !== making) return bitmap.close();
          this.bitmaps.set(frame, bitmap);
          this.changed();
        },
        () => { this.failed = new Error(`a picture of ${this.camera} cannot be shown`); },
      );
      this.bitmaps.set(frame, making);
      for (const [old, bitmap] of this.bitmaps) {
        if (this.bitmaps.size <= READY) break;
        if (old === this.shown) continue;
        if (bitmap.close) bitmap.close();
        this.bitmaps.delete(old);
      }
    }
    return this.bitmaps.get(frame);
  }
}
