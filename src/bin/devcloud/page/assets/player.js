// Plays the footage of any time with Media Source Extensions. The segments of a span are in one buffer, one after the
// other. If the tracks change, a new buffer begins. In a gap, the clock goes on without a frame.

const AHEAD = 24;
const BEHIND = 40;
const TICK = 120;
// Two segments play without a stop if the distance between them is at most this.
const SEAM = 400;
// Live video that is this many milliseconds behind jumps forward.
const LATE = 20_000;
const EDGE = 0.15;

export class Player {
  // `ask(path)` gets JSON. `onChange(player)` is called when anything that is shown changes.
  constructor(video, { ask, onChange }) {
    this.video = video;
    this.ask = ask;
    this.onChange = onChange;
    this.playing = false;
    this.live = false;
    this.skip = true;
    this.rate = 1;
    this.mode = "empty"; // empty, footage, gap, waiting, unplayable
    this.head = null;
    this.run = 0;
    this.source = null;
    this.bands = [];
    setInterval(() => this.#tick(), TICK);
    video.addEventListener("timeupdate", () => this.#follow());
    video.addEventListener("error", () => { if (this.source) this.#reopen(); });
  }

  setBands(bands) { this.bands = bands; }

  // Moves to a time, at most to the end of the footage.
  async seek(ms, { live = false } = {}) {
    const run = ++this.run;
    this.live = live;
    this.head = ms;
    // Until the frame is shown, the playhead does not follow the clock of the video.
    this.pending = true;
    const here = await this.#segments(ms - 100, ms + 1).catch(() => null);
    if (run !== this.run) return;
    if (!here) return this.#stand("waiting");
    const within = here.segments.find((s) => s.start - 50 <= ms && ms < s.end);
    if (within) return this.#show(within, Math.max(ms, within.start), run);
    const gap = this.#bandAt(ms);
    if (this.skip && here.next && (!gap || gap.kind === "gap" || here.next.start - ms < SEAM)) return this.#show(here.next, here.next.start, run);
    this.#stand(gap?.kind === "gap" ? "gap" : "waiting");
  }

  // Plays on from the newest footage in the store.
  async goLive() {
    const run = ++this.run;
    this.playing = true;
    this.live = true;
    this.pending = true;
    const { last } = await this.ask("/api/state").catch(() => ({}));
    if (run !== this.run) return;
    const now = Date.now();
    const band = this.bands.at(-1);
    if (band?.kind === "gap") { this.head = now; return this.#stand("gap"); }
    if (!last) { this.head = now; return this.#stand("waiting"); }
    return this.#show(last, last.start, run);
  }

  play() { this.playing = true; if (this.mode === "footage") this.#start(); this.changed(); }
  pause() { this.playing = false; this.live = false; this.video.pause(); this.changed(); }
  setRate(rate) { this.rate = rate; this.video.playbackRate = rate; if (rate !== 1) this.live = false; this.changed(); }
  setSkip(skip) { this.skip = skip; if (skip && this.mode === "gap" && !this.live) this.seek(this.head); }

  // One frame forward or back: to the middle of its time, so that rounding cannot show another one.
  step(by) {
    this.pause();
    const { current, video, source } = this;
    if (this.mode !== "footage" || !current || !source) return;
    const frame = (current.end - current.start) / Math.max(1, current.frames);
    const now = source.origin + video.currentTime * 1000 - current.start;
    const ms = current.start + (Math.floor(now / frame) + by + 0.5) * frame;
    const at = (ms - source.origin) / 1000;
    const { buffered } = video;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) <= at && at < buffered.end(i)) {
        this.head = ms;
        video.currentTime = at;
        this.changed();
        return;
      }
    }
    this.seek(ms);
  }

  // New footage is there: goes on if it was waited for.
  arrived() {
    if (this.mode === "waiting" && this.head != null && !this.busy) {
      this.busy = true;
      const go = this.live ? this.goLive() : this.seek(this.head);
      Promise.resolve(go).finally(() => { this.busy = false; });
    }
  }

  changed() {
    this.video.dataset.ms = this.head ?? "";
    this.onChange(this);
  }

  #bandAt(ms) { return this.bands.find((band) => band.from <= ms && ms < band.to) ?? (ms >= (this.bands.at(-1)?.to ?? Infinity) ? this.bands.at(-1) : undefined); }
  band() { return this.head == null ? undefined : this.#bandAt(this.head); }

  #segments(from, to) { return this.ask(`/api/segments?from=${from}&to=${to}`); }

  #stand(mode) {
    this.mode = mode;
    this.pending = false;
    this.video.pause();
    this.stoodAt = performance.now();
    this.changed();
  }

  // Shows a segment at a time within it.
  async #show(segment, ms, run) {
    this.current = segment;
    if (!MediaSource.isTypeSupported(segment.mime)) { this.head = ms; this.#stand("unplayable"); return; }
    this.pending = true;
    const known = this.source;
    if (!known || known.mime !== segment.mime || ms < known.origin || known.broken) this.#open(segment.mime, Math.min(segment.start, ms) - 1000);
    this.mode = "footage";
    this.head = ms;
    const source = this.source;
    const there = await this.#put(segment, source);
    if (run !== this.run || source !== this.source) return;
    if (!there) { this.#stand("waiting"); return; }
    this.pending = false;
    const at = Math.max((ms - source.origin) / 1000, this.#begin(segment, source));
    if (Math.abs(this.video.currentTime - at) > 0.001) this.video.currentTime = at;
    if (this.playing) this.#start();
    this.changed();
    this.#fill();
  }

  // The first frame may be a little after the start of the segment.
  #begin(segment, source) {
    const start = (segment.start - source.origin) / 1000;
    const { buffered } = source.buffer;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) >= start && buffered.start(i) < start + 0.5) return buffered.start(i) + 0.001;
    }
    return 0;
  }

  #start() {
    this.video.playbackRate = this.rate;
    this.video.play().catch(() => {});
  }

  #open(mime, origin) {
    const media = new MediaSource();
    const source = { mime, origin, media, had: new Map(), spans: new Map(), queue: Promise.resolve(), broken: false };
    source.ready = new Promise((resolve, reject) => {
      media.addEventListener("sourceopen", () => {
        try {
          source.buffer = media.addSourceBuffer(mime);
          source.buffer.mode = "segments";
          resolve();
        } catch (error) { reject(error); }
      }, { once: true });
    });
    source.ready.catch(() => { source.broken = true; });
    const old = this.url;
    this.url = URL.createObjectURL(media);
    this.source = source;
    this.video.src = this.url;
    if (old) URL.revokeObjectURL(old);
  }

  #reopen() {
    this.source.broken = true;
    if (this.head != null && !this.busy) this.seek(this.head, { live: this.live });
  }

  // Puts a segment into the buffer if it is not there yet; whether it is there afterwards.
  #put(segment, source) {
    const work = source.queue.then(async () => {
      if (source !== this.source) return false;
      if (source.had.has(segment.key)) return true;
      await source.ready;
      const answer = await fetch(`/media/${segment.key}`);
      if (!answer.ok) return false;
      const bytes = await answer.arrayBuffer();
      if (source !== this.source) return false;
      // The media times of each segment begin at 0: within a span, it begins exactly where the one before ended.
      const wanted = (segment.start - source.origin) / 1000;
      const before = source.spans.get(segment.span);
      const follows = before?.n === segment.n - 1 && Math.abs(before.end - wanted) < 0.1;
      const begin = follows ? before.end : wanted;
      source.spans.set(segment.span, { n: segment.n, end: begin + (segment.end - segment.start) / 1000 });
      const offset = begin - segment.decode;
      source.buffer.timestampOffset = offset;
      await this.#settled(source, () => source.buffer.appendBuffer(bytes));
      source.had.set(segment.key, segment);
      return true;
    }).catch(() => { source.broken = true; return false; });
    source.queue = work;
    return work;
  }

  #settled(source, act) {
    return new Promise((resolve, reject) => {
      source.buffer.addEventListener("updateend", resolve, { once: true });
      source.buffer.addEventListener("error", reject, { once: true });
      try { act(); } catch (error) { reject(error); }
    });
  }

  // End of what can be played without a stop, in seconds of the video; NaN if there is nothing.
  #until() {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) <= currentTime + 0.25 && currentTime <= buffered.end(i) + 0.05) return buffered.end(i);
    }
    return NaN;
  }

  // Fetches what follows without a gap, and removes what is far behind.
  async #fill() {
    const { source, run } = this;
    if (this.filling || !source?.buffer || source.broken) return;
    this.filling = true;
    try {
      const until = this.#until();
      if (!(until - this.video.currentTime > AHEAD * Math.max(1, this.rate))) {
        const from = Number.isNaN(until) ? this.head : source.origin + until * 1000;
        const { segments, next } = await this.#segments(from - 50, from + AHEAD * 1000 * Math.max(1, this.rate));
        let end = from;
        for (const segment of [...segments, next].filter(Boolean)) {
          if (run !== this.run || source !== this.source) return;
          if (segment.end <= from + 60) continue;
          if (segment.mime !== source.mime || segment.start - end > SEAM) break;
          end = Math.max(end, segment.end);
          if (!(await this.#put(segment, source))) break;
        }
      }
      const old = this.video.currentTime - BEHIND;
      const first = source.buffer.buffered.length ? source.buffer.buffered.start(0) : old;
      if (source === this.source && first < old - 20) {
        await (source.queue = source.queue.then(() => this.#settled(source, () => source.buffer.remove(0, old))).catch(() => {}));
        const gone = source.origin + old * 1000;
        for (const [key, segment] of source.had) if (segment.start < gone) source.had.delete(key);
      }
    } catch { /* The cloud is away for a moment: the next tick asks again. */ } finally { this.filling = false; }
  }

  // The playhead follows the frame that is shown.
  #follow() {
    if (this.mode !== "footage" || this.pending || !this.source || this.video.seeking || this.video.readyState < 2) return;
    this.head = this.source.origin + this.video.currentTime * 1000;
    for (const segment of this.source.had.values()) {
      if (segment.start <= this.head && this.head < segment.end) { this.current = segment; break; }
    }
    this.changed();
  }

  #tick() {
    if (this.mode === "footage") {
      this.#follow();
      this.#fill();
      if (this.playing && !this.pending) this.#atEnd();
    } else if (this.head != null && this.mode === "gap" && this.playing) {
      const now = performance.now();
      this.head = Math.min(this.head + (now - this.stoodAt) * this.rate, Date.now());
      this.stoodAt = now;
      if (this.bandHere !== this.band()?.from || this.head - (this.asked ?? 0) > 500) {
        [this.bandHere, this.asked] = [this.band()?.from, this.head];
        if (this.band()?.kind !== "gap") { if (this.live) this.goLive(); else this.seek(this.head); return; }
      }
      this.changed();
    }
  }

  // At the end of the buffer: goes on to what follows, over a gap or into it.
  async #atEnd() {
    const { video, source } = this;
    const until = this.#until();
    if (Number.isNaN(until) || until - video.currentTime > EDGE || this.deciding) {
      if (this.live && !this.deciding) this.#catchUp();
      return;
    }
    this.deciding = true;
    const run = this.run;
    try {
      const end = source.origin + until * 1000;
      const { segments, next } = await this.#segments(end - 20, end + 20);
      if (run !== this.run) return;
      const following = [...segments, next].find((s) => s && s.end > end + 60 && !source.had.has(s.key));
      const band = this.#bandAt(end + 120);
      if (following && following.start - end <= SEAM) {
        // With other tracks, it needs another buffer; with the same tracks, it is being fetched.
        if (following.mime !== source.mime) await this.#show(following, following.start, run);
      } else if (band?.kind === "gap") {
        if (this.live || !this.skip || !following) { this.head = end + 1; this.#stand("gap"); } else { await this.#show(following, following.start, run); }
      } else if (following && this.skip && band?.kind === "recorded") {
        await this.#show(following, following.start, run);
      } else if (!this.live && video.currentTime >= until - 0.05) {
        // Only the camera has it yet: wait for it.
        this.head = end + 1;
        this.#stand("waiting");
      }
    } catch { /* Asked again at the next tick. */ } finally { this.deciding = false; }
  }

  #catchUp() {
    const end = [...this.source.had.values()].reduce((most, s) => Math.max(most, s.end), 0);
    if (end - this.head > LATE) this.goLive();
  }
}
