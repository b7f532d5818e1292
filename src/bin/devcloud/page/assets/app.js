// The page as a whole: shows what the cloud reports, and sends it what the user chooses.

import { draw } from "./charts.js";
import { Player } from "./player.js";
import { Timeline, DAY } from "./timeline.js";
import * as words from "./words.js";

const $ = (id) => document.getElementById(id);

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

async function tell(command) {
  try {
    const answer = await fetch("/api/do", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(command) });
    const result = answer.ok ? await answer.json() : { ok: false, error: await answer.text() };
    if (!result.ok) toast(result.error);
    return result.ok;
  } catch {
    toast("The development cloud does not answer.");
    return false;
  }
}

let toastTimer;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 8000);
}

// Rows of a list, rebuilt only when they change.
function facts(list, rows) {
  const text = JSON.stringify(rows);
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...rows.flatMap(([name, value, note]) => {
    const [term, about] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    about.textContent = value;
    if (note) { const small = document.createElement("small"); small.textContent = note; about.append(small); }
    return [term, about];
  }));
}

const timeline = new Timeline($("timeline"), {
  onSeek: (ms) => player.seek(ms),
  onLive: () => player.goLive(),
  onView: () => view(),
});
const player = new Player($("video"), { ask, onChange: show });
let state = {};

function view() {
  $("day").textContent = words.day((timeline.from + timeline.to) / 2);
  for (const button of document.querySelectorAll("[data-span]")) {
    if (button.tagName === "BUTTON") button.setAttribute("aria-pressed", String(Math.round(timeline.span / 1000) === Number(button.dataset.span)));
  }
}

// What the player shows.
function show() {
  const { head, mode, live, playing } = player;
  timeline.setHead(head, live);
  const play = $("play");
  play.dataset.playing = String(playing);
  play.setAttribute("aria-label", playing ? "Pause" : "Play");
  $("live").setAttribute("aria-pressed", String(live));
  $("badge").dataset.live = String(live && mode === "footage");
  $("stamp").textContent = head == null ? "" : `${words.day(head)}  ${words.clock(head)}`;
  $("stage").dataset.mode = mode;
  const cover = $("cover");
  cover.hidden = mode === "footage";
  if (mode === "footage") return;
  const band = player.band();
  cover.dataset.reason = mode === "gap" ? (band?.reason ?? "unknown") : mode === "unplayable" ? mode : "waiting";
  if (mode === "gap") {
    $("cover-title").textContent = words.reason(band?.reason);
    const until = band === timeline.bands.at(-1) ? "until now" : `to ${words.clock(band?.to ?? head)}`;
    $("cover-text").textContent = `${words.because(band?.reason)}${band ? ` From ${words.clock(band.from)} ${until}.` : ""}`;
  } else if (mode === "unplayable") {
    $("cover-title").textContent = "This browser cannot play the footage";
    $("cover-text").textContent = `The footage is stored, but this browser has no decoder for ${words.codec(player.current?.mime)}. Download a clip, or open the page in another browser.`;
  } else if (mode === "waiting") {
    const unheard = band?.kind === "unheard";
    $("cover-title").textContent = unheard ? "Waiting for the owner's choice" : band ? "Not uploaded yet" : "No footage yet";
    $("cover-text").textContent = unheard
      ? "The camera captured this while it could not receive a choice. It keeps it until it receives one."
      : band ? "The camera has this footage. It plays here as soon as it is stored." : "The first segment appears as soon as the camera has sent it.";
  } else {
    $("cover-title").textContent = "No footage yet";
    $("cover-text").textContent = "The first segment appears as soon as the camera has sent it.";
  }
}

const CHIPS = { recording: "Recording", private: "Private", closed: "Not recording", offline: "Offline", unknown: "Connecting" };

// What the camera and the cloud reported last.
function showState() {
  const { privacy, entitlement, lease, telemetry, choice, cloud, last, switched, rates } = state;
  $("device").textContent = cloud?.device ?? "";
  const open = privacy?.capture === "open";
  const chip = state.status?.online === false || state.away ? "offline" : !privacy ? "unknown" : open ? "recording" : privacy.do_not_record ? "private" : "closed";
  if ($("chip").dataset.state !== chip) { $("chip").dataset.state = chip; $("chip-text").textContent = CHIPS[chip]; }

  const wanted = Boolean(choice?.do_not_record);
  $("privacy").setAttribute("aria-checked", String(wanted));
  $("privacy").dataset.reported = String(privacy?.do_not_record ?? "");
  measured(switched, privacy);
  const files = (n) => `${n} ${n === 1 ? "file" : "files"}`;
  const yes = (flag, on, off) => (flag == null ? "Not known yet" : flag ? on : off);
  facts($("privacy-facts"), [
    ["App", choice ? (wanted ? "Do not record" : "Record") : "No choice yet", privacy?.version != null ? `the camera has version ${privacy.version}` : ""],
    ["Latch", yes(privacy?.latch, "Set on the camera", "Not set")],
    ["Shutter", privacy?.shutter ? words.plain(privacy.shutter) : privacy ? "Part of the latch" : "Not known yet"],
    ["Device", privacy ? words.plain(privacy.capture) : "Not known yet", privacy ? `since ${words.clock(Date.parse(privacy.applied_at))}` : ""],
  ]);

  const t = telemetry ?? {};
  const audio = entitlement && lease ? lease.features?.audio : null;
  facts($("camera"), [
    ["Capture", privacy ? words.plain(privacy.capture) : "Not known yet", t.capture ? words.why(t.capture.reason) : ""],
    ["Audio", t.capture?.audio != null ? (t.capture.audio ? "In the last segment" : "None in the last segment") : last ? (last.audio ? "In the last segment" : "None in the last segment") : "Not known yet", (t.capture?.audio_wanted ?? audio) == null ? "" : (t.capture?.audio_wanted ?? audio) ? "allowed by plan and configuration" : "not allowed by plan or configuration"],
    ["Video", last ? `${last.height} lines, ${(last.frames / ((last.end - last.start) / 1000)).toFixed(0)} frames/s` : "Not known yet", t.capture ? `${t.capture.frames_captured} frames captured, ${t.capture.frames_dropped} dropped when recording was switched` : ""],
    ["Spool", t.spool ? `${words.bytes(t.spool.bytes)} in ${files(t.spool.files)}` : "Not known yet", t.spool?.free != null ? `${words.bytes(t.spool.free)} free, ${t.spool.state}` : t.spool?.state],
    ["Upload", t.upload ? (t.upload.stalled ? "Waiting" : t.upload.on ? `${words.bytes(rates?.upload_rate)}/s` : "Off") : "Not known yet", t.upload ? (t.upload.stalled ?? `${files(t.spool.pending)} waiting, ${t.upload.unheard} of them for the owner's choice; the last took ${t.upload.last_latency_ms} ms`) : ""],
    ["Memory", t.peak_rss_kib ? `${words.bytes(t.peak_rss_kib * 1024)} peak` : "Not known yet"],
  ]);

  facts($("plan-facts"), [
    ["In force", entitlement?.plan ? `${words.plain(lease?.plan?.id === entitlement.plan ? lease.plan.tier : entitlement.plan)}, ${words.plain(entitlement.status).toLowerCase()}` : "None", entitlement ? words.why(entitlement.reason) : ""],
    ["Lease", entitlement?.not_after ? `Until ${words.date(Date.parse(entitlement.not_after))}` : "None", lease?.features ? `${lease.features.audio ? "with" : "without"} audio, ${lease.features.max_height} lines, ${lease.features.history_hours / 24} days of history` : ""],
    ["Next", lease?.next ? `${words.plain(lease.next.plan?.tier)} from ${words.clock(Date.parse(lease.next.from))}` : "No change"],
  ]);
  if (!$("plan").matches(":focus-within")) {
    for (const radio of document.querySelectorAll("[name=plan]")) radio.checked = radio.value === lease?.plan?.tier;
  }
  if (document.activeElement !== $("plan-status") && lease) $("plan-status").value = lease.status;
  $("store").setAttribute("aria-checked", String(cloud?.store?.state === "up"));
  $("broker").setAttribute("aria-checked", String(Boolean(cloud?.broker?.up)));
  if (t.journal?.head) { $("journal-lines").textContent = t.journal.lines; $("journal-head").textContent = t.journal.head; }
  showEvents(state.events ?? []);
}

function measured(switched, privacy) {
  const place = $("measured");
  let text = "Use the switch: the page measures the time until the device is closed.";
  let figure = "";
  if (switched && switched.took_ms == null) text = privacy ? "Sent to the camera…" : "Waiting for the camera…";
  if (switched?.took_ms != null) {
    figure = switched.took_ms < 1000 ? `${switched.took_ms.toFixed(switched.took_ms < 100 ? 1 : 0)} ms` : `${(switched.took_ms / 1000).toFixed(2)} s`;
    text = switched.do_not_record ? " from your choice to the device closed" : " from your choice to the device open";
  }
  if (place.dataset.text === figure + text) return;
  place.dataset.text = figure + text;
  place.dataset.ms = switched?.took_ms ?? "";
  const strong = document.createElement("strong");
  strong.textContent = figure;
  place.replaceChildren(strong, text);
}

function showEvents(events) {
  const list = $("events");
  const newest = `${events.length} ${events[0]?.at}`;
  if (list.dataset.newest === newest) return;
  list.dataset.newest = newest;
  list.replaceChildren(...events.map((event) => {
    const [row, time, text] = [document.createElement("li"), document.createElement("time"), document.createElement("p")];
    time.dateTime = event.at;
    time.textContent = words.clock(Date.parse(event.at));
    text.textContent = words.event(event);
    row.append(time, text);
    return row;
  }));
}

function showGaps(bands) {
  const gaps = bands.filter((band) => band.kind === "gap").slice(-5).reverse();
  const list = $("gaps");
  const rows = gaps.map((gap) => {
    const ongoing = gap === bands.at(-1);
    return [gap, words.reason(gap.reason), `${words.clock(gap.from)} – ${ongoing ? "now" : words.clock(gap.to)}`, ongoing ? "" : words.lasting(gap.to - gap.from)];
  });
  const text = JSON.stringify(rows.map(([, ...row]) => row));
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  if (!rows.length) {
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = "No gaps: everything since the start is recorded.";
    list.replaceChildren(none);
    return;
  }
  list.replaceChildren(...rows.map(([gap, name, time, length]) => {
    const [row, button, swatch] = [document.createElement("li"), document.createElement("button"), document.createElement("span")];
    button.type = "button";
    swatch.className = "swatch";
    swatch.dataset.kind = "gap";
    swatch.dataset.reason = gap.reason;
    const part = (name, text) => { const made = document.createElement("span"); made.className = name; made.textContent = text; return made; };
    button.append(swatch, part("name", name), part("time", time), part("length", length));
    button.addEventListener("click", () => { $("skip").checked = false; player.setSkip(false); timeline.follow = true; player.seek(gap.from + 1); });
    row.append(button);
    return row;
  }));
}

function showLegend(bands) {
  const kinds = new Map([["recorded", { kind: "recorded" }], ["recording", { kind: "recording" }]]);
  for (const band of bands) kinds.set(band.kind + (band.reason ?? ""), band);
  const text = [...kinds.keys()].join();
  const list = $("legend");
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...[...kinds.values()].map((band) => {
    const [row, swatch] = [document.createElement("li"), document.createElement("span")];
    swatch.className = "swatch";
    swatch.dataset.kind = band.kind;
    if (band.reason) swatch.dataset.reason = band.reason;
    row.append(swatch, words.kind(band));
    return row;
  }));
}

let [asking, again, begun] = [false, false, false];
async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    const { bands } = await ask("/api/timeline");
    player.setBands(bands);
    timeline.setBands(bands);
    showGaps(bands);
    showLegend(bands);
    if (!begun && bands.some((band) => band.kind === "recorded")) { begun = true; player.goLive(); } else player.arrived();
    player.changed();
  } catch { /* The next event asks again. */ } finally {
    asking = false;
    if (again) { again = false; setTimeout(refresh, 30); }
  }
}

function listen() {
  const live = new EventSource("/api/live");
  const take = (e) => { state = JSON.parse(e.data); showState(); };
  live.addEventListener("state", take);
  live.addEventListener("footage", (e) => { take(e); refresh(); });
  live.addEventListener("error", () => { $("chip").dataset.state = "offline"; $("chip-text").textContent = "No cloud"; });
}

const charts = () => ask("/api/history").then((points) => draw($("charts"), points)).catch(() => {});

// What the user chooses.
$("play").addEventListener("click", () => (player.playing ? player.pause() : player.play()));
$("back").addEventListener("click", () => player.seek((player.head ?? Date.now()) - 10_000));
$("forward").addEventListener("click", () => player.seek((player.head ?? Date.now()) + 10_000));
$("step-back").addEventListener("click", () => player.step(-1));
$("step").addEventListener("click", () => player.step(1));
$("live").addEventListener("click", () => { timeline.follow = true; $("speed").value = "1"; player.setRate(1); player.goLive(); });
$("skip").addEventListener("change", (e) => player.setSkip(e.target.checked));
$("speed").addEventListener("change", (e) => player.setRate(Number(e.target.value)));
$("audio").addEventListener("click", () => {
  const on = $("video").muted;
  $("video").muted = !on;
  $("audio").setAttribute("aria-pressed", String(on));
});
$("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen()));
for (const button of document.querySelectorAll("button[data-span]")) {
  button.addEventListener("click", () => (button.dataset.span === "86400" ? timeline.showDay(player.head ?? Date.now()) : timeline.zoomTo(Number(button.dataset.span) * 1000)));
}
$("zoom-in").addEventListener("click", () => timeline.zoomTo(timeline.span / 2));
$("zoom-out").addEventListener("click", () => timeline.zoomTo(timeline.span * 2));
$("day-back").addEventListener("click", () => timeline.pan(-DAY));
$("day-on").addEventListener("click", () => timeline.pan(DAY));

$("privacy").addEventListener("click", async () => {
  const on = $("privacy").getAttribute("aria-checked") !== "true";
  $("privacy").setAttribute("aria-checked", String(on));
  if (!(await tell({ command: "privacy", switch: on ? "on" : "off" }))) showState();
});
const sell = (more = {}) => tell({ command: "plan", plan: document.querySelector("[name=plan]:checked")?.value ?? "plus", status: $("plan-status").value, ...more });
for (const radio of document.querySelectorAll("[name=plan]")) radio.addEventListener("change", () => sell());
$("plan-status").addEventListener("change", () => sell());
$("downgrade").addEventListener("click", () => sell({ next_from: "+60s", next_plan: "free" }));
const flip = (id) => $(id).addEventListener("click", async () => {
  const up = $(id).getAttribute("aria-checked") !== "true";
  $(id).setAttribute("aria-checked", String(up));
  await tell({ command: id, state: up ? "up" : "down" });
  state = await ask("/api/state").catch(() => state);
  showState();
});
flip("store");
flip("broker");

// A clip.
function clipRange() {
  const base = words.dayStart(player.head ?? Date.now());
  const ms = (text) => text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0) * 1000;
  const [from, to] = [$("clip-from").value, $("clip-to").value];
  return $("clip").checkValidity() ? { from: base + ms(from), to: base + ms(to) } : null;
}
const marked = () => { const range = clipRange(); timeline.setSelection(range && range.to > range.from ? range : null); };
$("clip-start").addEventListener("click", () => { $("clip-from").value = words.clock(player.head ?? Date.now()); marked(); });
$("clip-end").addEventListener("click", () => { $("clip-to").value = words.clock(player.head ?? Date.now()); marked(); });
$("clip-from").addEventListener("input", marked);
$("clip-to").addEventListener("input", marked);
$("clip").addEventListener("submit", async (e) => {
  e.preventDefault();
  const range = clipRange();
  if (!range || range.to <= range.from) { toast("The end of a clip must be after its start."); return; }
  const answer = await fetch(`/clip.mp4?from=${range.from}&to=${range.to}`).catch(() => null);
  if (!answer?.ok) { toast(answer ? await answer.text() : "The development cloud does not answer."); return; }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? "clip.mp4";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
});

view();
listen();
charts();
setInterval(charts, 4000);
setInterval(() => timeline.draw(), 500);
// No event says that the current segment grows.
setInterval(refresh, 2000);
