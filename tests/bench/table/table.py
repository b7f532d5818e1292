"""`make bench`: one table of what the agent costs beside what a user might have instead.

    table.py --kasacamd PATH --devcloud PATH --garage PATH --clip FILE --room DIR [--runs N] [--only NAME]
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import first
import peers
from measure import median, spread
from world import World

FAST = [
    peers.MuxFloor, peers.PutFloor, peers.Rclone, peers.Aws, peers.PutObjectSink, peers.MediaMtx, peers.Agent,
]
LIVE = [peers.EmptyProcess, peers.LiveFloor, peers.LiveAgent, peers.IdleAgent]


class Bench:
    def __init__(self, arguments):
        self.kasacamd, self.clip = arguments.kasacamd, arguments.clip
        self.room = arguments.room
        shutil.rmtree(self.room, ignore_errors=True)
        self.room.mkdir(parents=True)
        self.minute = self.room / "minute.mp4"
        cut = ["ffmpeg", "-v", "error", "-nostdin", "-i", self.clip, "-t", "60", "-c", "copy", self.minute]
        subprocess.run(cut, check=True)
        probe = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", self.clip]
        self.seconds = int(float(subprocess.run(probe, check=True, capture_output=True, text=True).stdout))
        board = self.room / "world" / "board.toml"
        self.world = World(
            self.room / "world", arguments.devcloud, arguments.garage,
            [
                "--board", str(board), "--segment", f"{peers.SEGMENT}s", "--fragment", "2s", "--telemetry", "60s",
                "--set", 'mqtt.reconnect_spread="60s"',
            ],
        )
        self.world.tell("plan", "premium")
        self.world.tell("privacy", "off")
        self.objects = None

    def prepare(self):
        """The objects that curl sends."""
        made, _ = peers.Segments(self).segments()
        self.objects = self.room / "objects"
        made.rename(self.objects)


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return f"{os.cpu_count()} cores of {model}, {platform.machine()}, Linux {platform.release()}"


def measure(bench, chosen, runs):
    found = {peer: [] for peer in chosen if not peer.skipped}
    for turn in range(runs):
        for peer, costs in found.items():
            before = bench.world.requests()
            cost = peer.run()
            costs.append((cost, bench.world.requests() - before))
            print(f"{turn + 1}/{runs} {peer.name}: {cost}", file=sys.stderr)
    return found


def line(name, costs, base):
    cpu = [cost.cpu for cost, _ in costs]
    memory = [cost.memory for cost, _ in costs]
    ratio = ""
    if base:
        ratio = f"{median(cpu) / median([it.cpu for it, _ in base]):.2f} / {median(memory) / median([it.memory for it, _ in base]):.2f}"
    cells = [
        name,
        spread(cpu, "{:.3f}" if median(cpu) < 0.1 else "{:.2f}"),
        spread(memory, "{:.1f}"),
        spread([cost.switches for cost, _ in costs], "{:.0f}"),
        spread([cost.written for cost, _ in costs], "{:.1f}"),
        spread([requests for _, requests in costs], "{:.0f}"),
        ratio,
    ]
    return "| " + " | ".join(cells) + " |"


def table(found, base, what):
    print(f"| {what} | CPU s | peak MiB | switches | MB written | requests | CPU / memory of the peer |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    base = next((costs for peer, costs in found.items() if isinstance(peer, base)), None)
    for peer, costs in found.items():
        if costs:
            print(line(peer.name, costs, base))


def by(found, kind):
    return next((costs for peer, costs in found.items() if type(peer) is kind and costs), None)


def middle(costs, what):
    return median([getattr(cost, what) for cost, _ in costs])


def goals(fast, live):
    """What the goals of docs/performance.md say of it."""
    agent, rclone = by(fast, peers.Agent), by(fast, peers.Rclone)
    if agent and rclone:
        for what, goal in (("cpu", 0.55), ("memory", 0.40)):
            yield f"{what} of ffmpeg + rclone", middle(agent, what) / middle(rclone, what), goal
    floors = [by(fast, peers.MuxFloor), by(fast, peers.PutFloor)]
    if agent and all(floors):
        yield "cpu of the sum of the floors", middle(agent, "cpu") / sum(middle(it, "cpu") for it in floors), 1.4
    agent, floor, empty = by(live, peers.LiveAgent), by(live, peers.LiveFloor), by(live, peers.EmptyProcess)
    if agent and floor:
        yield "live: cpu of the floor", middle(agent, "cpu") / middle(floor, "cpu"), 1.6
    if agent and empty:
        yield "live: MiB above an empty process", middle(agent, "memory") - middle(empty, "memory"), 16
    if idle := by(live, peers.IdleAgent):
        yield "idle: switches a second", middle(idle, "switches") / 60, 1
        yield "idle: % of a core", middle(idle, "cpu") / 60 * 100, 0.05
        yield "idle: MiB", middle(idle, "memory"), 9


def first_fragments(bench, runs):
    """Prints how soon a first fragment is committed; yields the goals: what that takes beyond the fragment itself, and with
    a short fragment in all."""
    print(f"\nFrom the first frame of a live source: {runs} runs.\n")
    print("| a fragment lasts s | start to first frame s | first frame to first commit s |\n|---:|---:|---:|")
    for lasts, costs in first.rows(bench, runs):
        started, committed = zip(*costs)
        print(f"| {lasts:.1f} | {spread(started, '{:.2f}')} | {spread(committed, '{:.2f}')} |", flush=True)
        yield f"first frame to first commit, fragment of {lasts:.1f} s: s beyond it", median(committed) - lasts, 1
    yield "first frame to first commit, in all", median(committed), 1


def absolute(text):
    return pathlib.Path(text).expanduser().absolute()


def main():
    parser = argparse.ArgumentParser()
    for name in ("kasacamd", "devcloud", "garage", "clip", "room"):
        parser.add_argument(f"--{name}", type=absolute, required=name != "garage")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--live-runs", type=int, default=3)
    parser.add_argument("--only", default="", help="names that contain this")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    try:
        bench.prepare()
        chosen = [kind(bench) for kind in FAST if arguments.only in kind.name]
        live = [kind(bench) for kind in LIVE if arguments.only in kind.name]
        size = bench.clip.stat().st_size / 1e6
        store = "Garage, the TLS before it the development cloud's" if bench.world.garage else "the development store"
        fast_found = measure(bench, chosen, arguments.runs)
        live_found = measure(bench, live, arguments.live_runs)
        print(f"\n{machine()}. {bench.seconds} s of video, {size:.0f} MB. The store: {store}.")
        print(f"As fast as it goes: {arguments.runs} interleaved runs each, medians (least–greatest).\n")
        table(fast_found, peers.Rclone, f"{bench.seconds} s of video, as fast as it goes")
        for peer in chosen:
            if peer.skipped:
                print(f"\nLeft out: {peer.name}: {peer.skipped}.")
        print(f"\nLive: {arguments.live_runs} runs of 60 s each.\n")
        table(live_found, peers.LiveFloor, "60 s, live")
        met = list(goals(fast_found, live_found))
        if not arguments.only:
            met += first_fragments(bench, arguments.live_runs)
        print("\n| goal | measured | at most | |\n|---|---:|---:|---|")
        for name, value, goal in met:
            print(f"| {name} | {value:.2f} | {goal} | {'met' if value <= goal else 'missed'} |")
        raw = {peer.name: [(vars(cost), requests) for cost, requests in costs] for peer, costs in fast_found.items()}
        raw_live = {peer.name: [(vars(cost), n) for cost, n in costs] for peer, costs in live_found.items()}
        (bench.room.parent / "bench.json").write_text(json.dumps({"fast": raw, "live": raw_live}, indent=1))
    finally:
        bench.world.close()
    shutil.rmtree(bench.room, ignore_errors=True)


main()
