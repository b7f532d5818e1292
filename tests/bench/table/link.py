"""How fast a backlog goes out on a link that is the bottleneck, beside `curl` that sends the same files.

    link.py --kasacamd PATH --devcloud PATH --clip FILE --room DIR [--mbits N] [--runs N]

Runs itself in a network namespace of its own, whose loopback is the link: the kernel's token bucket (tc-tbf(8)) lets so many
bits a second through, those of both directions together. The store is the development cloud's own.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time

import peers
from alone import Alone
from measure import Running, median, spread

INSIDE = "KASACAM_BENCH_LINK"
# The packets of Ethernet.
READY = [["ip", "link", "set", "lo", "mtu", "1500"], ["ip", "link", "set", "lo", "up"]]
# A queue of a tenth of a second.
SLOW = ["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "burst", "32kb", "latency", "100ms", "rate"]
FAST = ["tc", "qdisc", "del", "dev", "lo", "root"]


class Link(Alone):
    def __init__(self, arguments):
        super().__init__(arguments.kasacamd, arguments.devcloud, arguments.room, ["--telemetry", "60s"])
        self.clip, self.mbits = arguments.clip, arguments.mbits
        self.curl = peers.PutFloor(self)

    def record(self):
        """A backlog: what the agent records while there is no store. A copy of its files is what curl sends."""
        self.world.tell("store", "down")
        self.agent.board(self.clip, False)
        agent = self.agent.start()
        spool = self.world.device / "state" / "spool"
        until = time.monotonic() + 60
        # The end of the span comes last.
        while not (spool.exists() and list(spool.glob("*.end"))):
            if agent.is_over() or time.monotonic() > until:
                raise SystemExit(f"there is no backlog: {agent.said()}")
            time.sleep(0.1)
        agent.stop()
        agent.end(30)
        self.objects = peers.empty(self.room / "objects")
        for segment in spool.glob("*.mp4"):
            shutil.copy(segment, self.objects)
        self.world.tell("store", "up")

    def drain(self):
        """Until all of it is stored, from the start of the agent on. There is no camera meanwhile."""
        self.agent.board(self.room / "no-camera.mp4", True)
        spool = self.world.device / "state" / "spool"
        agent = Running([self.kasacamd, "run", "--config", self.world.agent], self.room)
        until = time.monotonic() + 300
        while list(spool.glob("*.mp4")):
            if agent.is_over() or time.monotonic() > until:
                raise SystemExit(f"the backlog does not go: {agent.said()}")
            time.sleep(0.02)
        agent.stop()
        return agent

    def seconds(self, send):
        """What `send` takes on the slow link."""
        subprocess.run([*SLOW, f"{self.mbits}mbit"], check=True)
        began = time.monotonic()
        try:
            agent = send()
            took = time.monotonic() - began
        finally:
            subprocess.run(FAST, check=True)
        if isinstance(agent, Running):
            agent.end(30)
        return took


def main():
    parser = argparse.ArgumentParser()
    for name in ("kasacamd", "devcloud", "clip", "room"):
        parser.add_argument(f"--{name}", type=lambda text: pathlib.Path(text).absolute(), required=True)
    parser.add_argument("--mbits", type=float, default=8)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    if INSIDE not in os.environ:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--net", sys.executable, *sys.argv])
    for command in READY:
        subprocess.run(command, check=True)
    link = Link(arguments)
    try:
        curl, agent, size = [], [], 0
        for _ in range(arguments.runs):
            link.record()
            size = sum(it.stat().st_size for it in link.objects.iterdir()) / 1e6
            curl.append(link.seconds(link.curl.run))
            agent.append(link.seconds(link.drain))
        print(f"\nA backlog of {size:.0f} MB on a link of {arguments.mbits:g} Mbit/s: {arguments.runs} runs, each after the other.\n")
        print("| sent by | s | of the speed of curl |\n|---|---:|---:|")
        print(f"| curl, one connection | {spread(curl, '{:.1f}')} | 1.00 |")
        print(f"| **kasacamd**, from its start on | {spread(agent, '{:.1f}')} | {median(curl) / median(agent):.2f} |")
    finally:
        link.world.close()
    shutil.rmtree(arguments.room, ignore_errors=True)


main()
