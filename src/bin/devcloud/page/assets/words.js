// Texts and figures for people. Times are local, on a 24-hour clock.

const two = (n) => String(n).padStart(2, "0");

export function clock(ms) {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function day(ms) {
  return new Date(ms).toLocaleDateString(undefined, { weekday: "short", day: "numeric", month: "short" });
}

export function date(ms) {
  return new Date(ms).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

export function dayStart(ms) {
  const at = new Date(ms);
  return new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
}

export function lasting(ms) {
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.round(s)} s`;
  const whole = Math.round(s);
  const [h, m] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return h ? `${h} h ${m} min` : `${m} min ${whole % 60} s`;
}

export function bytes(n) {
  if (!(n >= 1024)) return `${Math.round(n || 0)} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let [value, unit] = [n / 1024, 0];
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

// Why there is no footage: a name for the timeline, and a sentence for the gap.
const REASONS = {
  privacy: ["Privacy", "Do Not Record was on, and the device was closed."],
  entitlement: ["Plan", "The plan did not allow recording."],
  storage: ["Storage", "The camera had no space, or its flash could not be written."],
  source: ["Source", "The video source or the encoder failed."],
  clock: ["Clock", "The camera's clock was set."],
  format: ["Format", "The format of the video changed."],
  shutdown: ["Shutdown", "The camera was stopped."],
  power: ["Power", "The camera lost power."],
  unknown: ["No footage", "The camera did not report why."],
};

export const reasons = Object.keys(REASONS);
export const reason = (name) => (REASONS[name] ?? REASONS.unknown)[0];
export const because = (name) => (REASONS[name] ?? REASONS.unknown)[1];

const KINDS = {
  recorded: "Recorded", recording: "Recording now", waiting: "On the camera, not uploaded yet", unheard: "On the camera, waiting for the owner's choice",
};
export const kind = (band) => (band.kind === "gap" ? reason(band.reason) : KINDS[band.kind]);
const SHORT = { recorded: "", recording: "Recording", waiting: "Not uploaded yet", unheard: "Waiting for a choice" };
export const label = (band) => (band.kind === "gap" ? reason(band.reason) : SHORT[band.kind]);

const WHY = {
  allowed: "the owner and the plan allow it", do_not_record: "Do Not Record is on", privacy_unknown: "the owner's choice is not known",
  privacy_hold: "waiting for the owner's choice", entitlement_unknown: "the plan is not known", lapsed: "the plan has lapsed",
  suspended: "the plan is suspended", terminated: "the service has ended", plan_without_recording: "the plan does not include recording",
  plan_without_h265: "the plan does not include H.265, which this camera records",
  storage_full: "the flash is full", storage_broken: "the flash cannot be written",
};
export const why = (name) => WHY[name] ?? String(name ?? "not known yet").replaceAll("_", " ");

// The video codec of a media type (RFC 6381).
export const codec = (mime) => (/hvc1|hev1/.test(mime ?? "") ? "H.265" : /avc[13]/.test(mime ?? "") ? "H.264" : "this codec");

const title = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const plain = (text) => title(String(text ?? "").replaceAll("_", " "));

const EVENTS = {
  capture_opened: () => "The camera opened its device",
  capture_closed: (e) => `The camera closed its device: ${reason(e.reason).toLowerCase()}`,
  capture_failed: (e) => `Capture failed: ${e.message}`,
  segment_purged: (e) => `A segment was purged: ${plain(e.rule).toLowerCase()}`,
  segment_cut: (e) => `A segment was shortened to ${lasting(e.kept_ms)}: ${plain(e.rule).toLowerCase()}`,
  unheard: () => "Footage waits: the camera cannot receive a choice",
  unheard_over: (e) => (e.by === "choice" ? "The camera has received the choice: footage is sent again" : "The longest wait is over: footage is sent again"),
  upload_stalled: (e) => `Uploads are waiting: ${e.why}`,
  upload_resumed: () => "Uploads continue",
  upload_refused: (e) => `The store refused a segment: ${e.why}`,
  storage_failed: (e) => `The flash cannot be written: ${e.why}`,
  storage_recovered: () => "The flash can be written again",
  storage_stalled: () => "The flash does not answer",
  storage_resumed: (e) => `The flash answers again, after ${e.stalled_s} s`,
  quarantined: (e) => `A file was set aside: ${e.why}`,
  rejected: (e) => `A message was refused: ${plain(e.reason).toLowerCase()}`,
  persist_failed: (e) => `A fact could not be kept: ${e.why}`,
};
export const event = (e) => (EVENTS[e.event] ? EVENTS[e.event](e) : plain(e.event));
