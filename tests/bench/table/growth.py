"""How the cost of the agent grows: with the bitrate, with the segments in its spool, and with the hours of an outage. Prints
three tables and draws them.

    growth.py --kasacamd PATH --devcloud PATH --clip FILE --room DIR --plots DIR
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import time

import peers
from alone import Alone
from measure import Running
from outage import Outage

SEGMENTS = [10, 100, 1_000, 10_000, 100_000]
MBITS = [0.5, 2, 8, 24]
# Names of one file: ext4 allows 65,000.
MAX_LINKS = 60_000
# Seconds of video of each bitrate.
SECONDS = 20


class Growth(Alone):
    def __init__(self, arguments):
        limits = ['spool.max_bytes="60 TiB"', 'spool.min_free="0"', "spool.max_files=1000000"]
        settings = [word for limit in limits for word in ("--set", limit)]
        history = ["--history-hours", "87600"]
        super().__init__(arguments.kasacamd, arguments.devcloud, arguments.room, settings, history=history)
        self.minute = arguments.clip

    def rate(self, mbits):
        """CPU seconds, MiB and switches of a minute of such video, recorded and sent."""
        clip = self.room / "clip.mp4"
        rate = f"{int(mbits * 1000)}k"
        coding = ["-preset", "ultrafast", "-profile:v", "baseline", "-g", "30", "-b:v", rate, "-minrate", rate]
        coding += ["-maxrate", rate, "-bufsize", rate, "-x264-params", "nal-hrd=cbr:scenecut=0", "-pix_fmt", "yuv420p"]
        source = f"testsrc2=size=1920x1080:rate=15:duration={SECONDS}"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", source, "-c:v", "libx264", *coding, clip],
            check=True,
        )
        cost = self.agent.record(clip, False, SECONDS * 15)
        return cost.cpu * 60 / SECONDS, cost.memory, cost.switches * 60 / SECONDS

    def segment(self):
        """One real segment, kept beside the spool."""
        self.world.tell("store", "down")
        self.agent.board(self.minute, False)
        agent = self.agent.start()
        spool = self.world.device / "state" / "spool"
        until = time.monotonic() + 60
        while not (spool.exists() and len(list(spool.glob("*.mp4"))) > 1) and time.monotonic() < until:
            time.sleep(0.1)
        agent.stop()
        agent.end(30)
        kept = self.room / "segment.mp4"
        os.link(min(spool.glob("*.mp4")), kept)
        # A file as fast as it goes has times of its own, up to a minute ahead: the choice below comes after them.
        time.sleep(peers.SEGMENT + 2)
        self.world.tell("privacy", "on")
        return kept

    def start(self, kept, count):
        """Seconds of CPU until a private agent knows so many segments, its MiB, and seconds of the clock."""
        spool = self.world.device / "state" / "spool"
        for file in spool.iterdir():
            if file.is_file():
                file.unlink()
        for n in range(count):
            if n % MAX_LINKS == MAX_LINKS - 1:
                kept = shutil.copy(kept, self.room / f"segment-{n}.mp4")
            os.link(kept, spool / f"{n + 1:010}.mp4")
        began = time.monotonic()
        agent = Running([self.kasacamd, "run", "--config", self.world.agent], self.room)
        while self.status().get("spool", {}).get("scanning") is not False:
            if agent.is_over() or time.monotonic() > began + 200:
                raise SystemExit(f"{count} segments did not come to be known: {agent.said()}")
            time.sleep(0.2)
        known = time.monotonic() - began
        agent.stop()
        cost = agent.end(60)
        return cost.cpu, cost.memory, known

    def status(self):
        asked = [self.kasacamd, "status", "--json", "--socket", self.world.device / "control.sock"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30)
        return json.loads(done.stdout) if done.returncode == 0 else {}


def draw(path, title, points, axes):
    """A line of the first value against what it grows with, both by their logarithm."""
    def place(values, low, high):
        least, most = math.log(min(values)), math.log(max(values))
        return [low + (math.log(value) - least) / (most - least or 1) * (high - low) for value in values]

    across, up = place([x for x, _ in points], 60, 460), place([y for _, y in points], 220, 40)
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in zip(across, up))
    marks = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3"/><text x="{x:.0f}" y="{y - 8:.0f}">{value:.3g}</text>'
        f'<text x="{x:.0f}" y="245">{size:g}</text>'
        for x, y, (size, value) in zip(across, up, points)
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 280" font-family="sans-serif" font-size="11"'
        f' text-anchor="middle"><rect width="520" height="280" fill="white"/><text x="260" y="18" font-size="13">{title}'
        f'</text><polyline points="{line}" fill="none" stroke="#0057b7" stroke-width="2"/>{marks}'
        f'<text x="260" y="268">{axes}</text></svg>\n'
    )


def outage(arguments, room):
    """The third table and its plot."""
    grown = Outage(arguments.kasacamd, arguments.devcloud, room)
    try:
        print("\n| hours without a store | segments | CPU s to send them | peak MiB | s | requests a segment |")
        print("|---:|---:|---:|---:|---:|---:|")
        sent = []
        for hours, count, cost, requests in grown.rows():
            sent.append((hours, cost.cpu))
            print(
                f"| {hours} | {count:,} | {cost.cpu:.2f} | {cost.memory:.1f} | {cost.wall:.0f} | {requests:.2f} |", flush=True
            )
    finally:
        grown.world.close()
    title = "CPU seconds from a start until the footage of an outage is sent"
    draw(arguments.plots / "growth-outage.svg", title, sent, "hours without a store")


def main():
    parser = argparse.ArgumentParser()
    for name in ("kasacamd", "devcloud", "clip", "room", "plots"):
        parser.add_argument(f"--{name}", type=lambda text: pathlib.Path(text).absolute(), required=True)
    arguments = parser.parse_args()
    growth = Growth(arguments)
    try:
        print("| Mbit/s | CPU s a minute | peak MiB | switches a minute |\n|---:|---:|---:|---:|")
        rates = [(mbits, growth.rate(mbits)) for mbits in MBITS]
        for mbits, (cpu, memory, switches) in rates:
            print(f"| {mbits} | {cpu:.2f} | {memory:.1f} | {switches:.0f} |", flush=True)
        kept = growth.segment()
        # The first start still goes by the permission of before, until it has heard the choice.
        growth.start(kept, 1)
        print("\n| segments | CPU s of a start | peak MiB | all known after s |\n|---:|---:|---:|---:|")
        starts = []
        for count in SEGMENTS:
            starts.append((count, growth.start(kept, count)))
            cpu, memory, known = starts[-1][1]
            print(f"| {count:,} | {cpu:.2f} | {memory:.1f} | {known:.1f} |", flush=True)
        draw(
            arguments.plots / "growth-bitrate.svg", "CPU seconds for a minute of video",
            [(mbits, figures[0]) for mbits, figures in rates], "Mbit/s",
        )
        draw(
            arguments.plots / "growth-spool.svg", "CPU seconds of a start, until all segments are known",
            [(count, figures[0]) for count, figures in starts], "segments in the spool",
        )
    finally:
        growth.world.close()
    outage(arguments, growth.room / "outage")
    shutil.rmtree(growth.room, ignore_errors=True)


main()
