// The timeline: bands of footage and gaps, a playhead, pan and zoom by mouse, touch and keys.

import { clock, day, dayStart, kind, label } from "./words.js";

const MINUTE = 60_000;
export const DAY = 86_400_000;
const STEPS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600].map((s) => s * 1000);
// The space that the label of a tick needs, in CSS pixels.
const TICK_ROOM = 84;
const CLICK = 5;

export class Timeline {
  // `onSeek(ms)`: the user chose a time; `onLive()`: the newest footage; `onView()`: another part is shown.
  constructor(root, { onSeek, onLive, onView }) {
    this.root = root;
    this.track = root.querySelector("#track");
    this.ruler = root.querySelector("#ruler");
    this.headMark = root.querySelector("#head");
    this.headTime = root.querySelector("#head-time");
    this.selectionMark = root.querySelector("#selection");
    Object.assign(this, { onSeek, onLive, onView });
    this.to = Date.now() + 20_000;
    this.from = this.to - 5 * MINUTE;
    this.bands = [];
    this.head = null;
    this.live = true;
    this.follow = true;
    this.selection = null;
    this.pointers = new Map();
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(root);
  }

  get span() { return this.to - this.from; }
  get end() { return this.bands.length ? Math.max(this.bands.at(-1).to, Date.now()) : Date.now(); }

  // The band at a time, if there is one.
  at(ms) { return this.bands.find((band) => band.from <= ms && ms < band.to); }

  setBands(bands) { this.bands = bands; this.draw(); }

  setHead(ms, live) {
    this.head = ms;
    this.live = live;
    if (this.follow && this.pointers.size === 0 && ms != null) {
      const ahead = live ? this.span * 0.08 : this.span * 0.2;
      if (ms > this.to - ahead || ms < this.from) {
        this.#move(live ? ms + ahead - this.span : ms - this.span * 0.3);
      }
    }
    this.draw();
  }

  setSelection(range) { this.selection = range; this.draw(); }

  // Shows `span` milliseconds around a time, by default that of the playhead.
  zoomTo(span, around = this.#anchor()) {
    const kept = Math.min(DAY, Math.max(MINUTE, span));
    const share = Math.min(0.92, Math.max(0.08, (around - this.from) / this.span || 0.5));
    this.from = around - kept * share;
    this.to = this.from + kept;
    this.#settle();
  }

  showDay(ms) {
    const start = dayStart(ms);
    [this.from, this.to, this.follow] = [start, start + DAY, false];
    this.#settle();
  }

  pan(ms) { this.follow = false; this.#move(this.from + ms); }

  #anchor() {
    return this.head != null && this.head >= this.from && this.head <= this.to ? this.head : (this.from + this.to) / 2;
  }

  #move(from) {
    const span = this.span;
    this.from = from;
    this.to = from + span;
    this.#settle();
  }

  // Keeps the view near some footage, or near now.
  #settle() {
    const span = this.span;
    const first = this.bands.length ? this.bands[0].from : Date.now();
    const low = Math.min(first, dayStart(first) + (span > DAY * 0.9 ? 0 : DAY)) - span * 0.9;
    const high = this.end + span * 0.9;
    this.from = Math.min(Math.max(this.from, low), Math.max(low, high - span));
    this.to = this.from + span;
    this.onView?.();
    this.draw();
  }

  #ms(x) {
    const box = this.root.getBoundingClientRect();
    return this.from + ((x - box.left) / box.width) * this.span;
  }

  #listen() {
    const { root } = this;
    root.addEventListener("wheel", (e) => {
      e.preventDefault();
      if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
        this.pan(((e.deltaX || e.deltaY) / root.clientWidth) * this.span);
      } else {
        this.zoomTo(this.span * Math.exp(Math.max(-1, Math.min(1, e.deltaY / 300))), this.#ms(e.clientX));
      }
    }, { passive: false });
    root.addEventListener("pointerdown", (e) => {
      root.setPointerCapture(e.pointerId);
      this.pointers.set(e.pointerId, e.clientX);
      if (this.pointers.size === 1) [this.travel, this.downAt] = [0, e.clientX];
    });
    root.addEventListener("pointermove", (e) => {
      if (!this.pointers.has(e.pointerId)) return;
      const before = this.pointers.get(e.pointerId);
      if (this.pointers.size === 2) {
        const [[, other]] = [...this.pointers].filter(([id]) => id !== e.pointerId);
        const [then, now] = [Math.abs(before - other), Math.abs(e.clientX - other)];
        const middle = this.#ms((before + other) / 2);
        this.travel = Infinity;
        if (now > 10) this.zoomTo(this.span * (Math.max(then, 10) / now), middle);
      } else {
        this.travel += Math.abs(e.clientX - before);
        if (this.travel > CLICK) {
          root.classList.add("dragging");
          this.pan(((before - e.clientX) / root.clientWidth) * this.span);
        }
      }
      this.pointers.set(e.pointerId, e.clientX);
    });
    const up = (e) => {
      if (!this.pointers.delete(e.pointerId)) return;
      root.classList.remove("dragging");
      if (e.type === "pointerup" && this.pointers.size === 0 && this.travel <= CLICK) this.#choose(this.#ms(e.clientX));
    };
    root.addEventListener("pointerup", up);
    root.addEventListener("pointercancel", up);
    root.addEventListener("keydown", (e) => {
      const step = Math.max(1000, this.span / 60);
      const by = (ms) => this.#choose((this.head ?? this.end) + ms);
      const keys = {
        ArrowRight: () => (e.shiftKey ? this.pan(this.span / 4) : by(step)),
        ArrowLeft: () => (e.shiftKey ? this.pan(-this.span / 4) : by(-step)),
        ArrowUp: () => by(step), ArrowDown: () => by(-step),
        PageUp: () => this.pan(-this.span * 0.9), PageDown: () => this.pan(this.span * 0.9),
        Home: () => this.bands.length && this.#choose(this.bands[0].from), End: () => { this.follow = true; this.onLive(); },
        "+": () => this.zoomTo(this.span / 2), "=": () => this.zoomTo(this.span / 2), "-": () => this.zoomTo(this.span * 2),
      };
      if (keys[e.key] && !e.ctrlKey && !e.metaKey && !e.altKey) { e.preventDefault(); keys[e.key](); }
    });
  }

  #choose(ms) {
    this.follow = true;
    this.onSeek(Math.min(Math.max(ms, this.bands[0]?.from ?? ms), this.end));
  }

  draw() {
    this.queued ??= requestAnimationFrame(() => { this.queued = null; this.#draw(); });
  }

  #draw() {
    const width = this.root.clientWidth;
    if (!width) return;
    const x = (ms) => ((ms - this.from) / this.span) * width;
    this.#drawBands(x, width);
    const shown = this.head != null && this.head >= this.from && this.head <= this.to;
    this.headMark.hidden = !shown;
    if (shown) {
      const at = x(this.head);
      this.headMark.style.left = `${at}px`;
      this.headMark.dataset.edge = at < 36 ? "left" : at > width - 36 ? "right" : "";
      this.headTime.textContent = clock(this.head);
    }
    this.#drawRuler(x, width);
    this.selectionMark.hidden = !this.selection;
    if (this.selection) {
      this.selectionMark.style.left = `${x(this.selection.from)}px`;
      this.selectionMark.style.width = `${Math.max(2, x(this.selection.to) - x(this.selection.from))}px`;
    }
    const { root } = this;
    Object.assign(root.dataset, { span: Math.round(this.span / 1000), from: Math.round(this.from), to: Math.round(this.to) });
    root.setAttribute("aria-valuemin", Math.round((this.bands[0]?.from ?? 0) / 1000));
    root.setAttribute("aria-valuemax", Math.round(this.end / 1000));
    if (this.head != null) {
      const band = this.at(this.head);
      root.setAttribute("aria-valuenow", Math.round(this.head / 1000));
      root.setAttribute("aria-valuetext", `${clock(this.head)}, ${band ? kind(band).toLowerCase() : "no footage yet"}`);
    }
  }

  #drawBands(x, width) {
    const marks = [];
    for (const band of this.bands) {
      const last = band === this.bands.at(-1);
      // The last band grows with the clock until the cloud reports again, but not for longer than 10 s.
      const to = last ? Math.max(band.to, Math.min(Date.now(), band.to + 10_000)) : band.to;
      if (to < this.from || band.from > this.to) continue;
      const [left, right] = [Math.max(-20, x(band.from)), Math.min(width + 20, x(to))];
      marks.push({ band, left, wide: Math.max(1.5, right - left) });
    }
    while (this.track.children.length < marks.length) {
      const made = document.createElement("div");
      made.append(document.createElement("b"));
      this.track.append(made);
    }
    while (this.track.children.length > marks.length) this.track.lastChild.remove();
    marks.forEach(({ band, left, wide }, i) => {
      const mark = this.track.children[i];
      const text = label(band);
      mark.className = wide < 18 + text.length * 7 ? "band narrow" : "band";
      mark.dataset.kind = band.kind;
      mark.dataset.from = band.from;
      mark.dataset.to = band.to;
      if (band.reason) mark.dataset.reason = band.reason; else delete mark.dataset.reason;
      mark.style.left = `${left}px`;
      mark.style.width = `${wide}px`;
      mark.title = `${kind(band)}, ${clock(band.from)} to ${clock(band.to)}`;
      if (mark.firstChild.textContent !== text) mark.firstChild.textContent = text;
    });
  }

  #drawRuler(x, width) {
    const step = STEPS.find((step) => (step / this.span) * width >= TICK_ROOM) ?? STEPS.at(-1);
    const zone = new Date(this.from).getTimezoneOffset() * MINUTE;
    const first = Math.ceil((this.from - zone) / step) * step + zone;
    const marks = [];
    for (let ms = first; ms <= this.to; ms += step) {
      const at = x(ms);
      const tick = document.createElement("i");
      tick.style.left = `${at}px`;
      marks.push(tick);
      const crowded = !this.headMark.hidden && Math.abs(at - x(this.head)) < 64;
      if (at > 28 && at < width - 28 && !crowded) {
        const text = document.createElement("span");
        text.style.left = `${at}px`;
        text.textContent = ms === dayStart(ms) ? day(ms) : step < MINUTE ? clock(ms) : clock(ms).slice(0, 5);
        marks.push(text);
      }
    }
    this.ruler.replaceChildren(...marks);
  }
}
