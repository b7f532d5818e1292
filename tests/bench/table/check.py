"""`make bench-check`: figures that are the same at every run, or nearly so, held against the budgets of budgets.toml.

    check.py --kasacamd PATH --devcloud PATH --clip FILE --room DIR --budgets FILE

The agent records the clip (a minute of it, as fast as it goes) and sends it to the development store: under cachegrind,
under strace, under heaptrack. Each does so with the first seconds of the clip too, and what these cost is taken off: a
start loads a hundred libraries, which would hide what becomes of a frame. A figure that is above its budget by more than
the tolerance fails.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import peers
from alone import Alone
from measure import Running

# Seconds of the clip, and of its beginning that is recorded for comparison.
LONG, SHORT = 60, 4
# Calls about files. How often a program waits, wakes others or sends depends on who else runs.
OF_FILES = {
    "openat", "close", "read", "pread64", "pwrite64", "pwritev", "pwritev2", "ftruncate", "statx", "newfstatat", "fstat",
    "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "getdents64", "lseek",
}
SYNCS = {"fsync", "fdatasync"}
WRITES = {"pwrite64", "pwritev", "pwritev2"}


class Check(Alone):
    def __init__(self, arguments):
        super().__init__(arguments.kasacamd, arguments.devcloud, arguments.room, ["--telemetry", "60s"])
        self.minute = arguments.clip
        self.short = self.beginning(self.minute, SHORT)

    def record(self, clip, under=(), limit=120):
        """Records and sends a clip under another program; the cost."""
        (self.room / "last.log").unlink(missing_ok=True)
        self.agent.board(clip, False)
        self.world.fresh()
        before = self.world.events()
        running = Running([*under, self.kasacamd, "run", "--config", self.world.agent], self.room)
        self.agent.all_sent(running, before, (SHORT if clip == self.short else LONG) * 15)
        stop(running)
        return running.end(limit)

    def output(self):
        return (self.room / "last.log").read_text(errors="replace")


def stop(running):
    """Asks the agent to end, which may be the child of a child: strace passes no signal on."""
    waiting = [running.child.pid]
    while waiting:
        pid = waiting.pop()
        if agent_is(pid):
            os.kill(pid, signal.SIGTERM)
            return
        for task in os.listdir(f"/proc/{pid}/task"):
            waiting += map(int, open(f"/proc/{pid}/task/{task}/children").read().split())
    raise SystemExit("no agent is there to be stopped")


def agent_is(pid):
    words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
    name = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    return name.startswith(("kasacamd", "cachegrind-")) or (
        name.startswith("memcheck") and any(word.endswith(b"kasacamd") for word in words)
    )


def a_minute(check, measure):
    """What `measure` says of a minute of video, without the start: a number, or some by name."""
    long, short = measure(check.minute), measure(check.short)
    return {name: (value - short[name]) * 60 / (LONG - SHORT) for name, value in long.items()}


def stripped(check):
    copy = check.room / "stripped"
    subprocess.run(["strip", "-o", copy, check.kasacamd], check=True)
    return copy.stat().st_size


def figures(check):
    """Name and value of each figure."""
    yield "size", stripped(check)
    # The first run makes GStreamer's registry, where there is none.
    cost = check.record(check.minute)
    yield "written_per_kilobyte", cost.written * 1e6 / check.minute.stat().st_size * 1000
    for measure in (calls, allocations, instructions):
        yield from a_minute(check, lambda clip, measure=measure: measure(check, clip)).items()
    yield "idle_wakeups", idle(check)


def calls(check, clip):
    counts = check.room / "strace"
    check.record(clip, ["strace", "-f", "-c", "-o", counts])
    calls = {}
    for line in counts.read_text().splitlines():
        if found := re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line):
            calls[found[2]] = int(found[1])
    kinds = {"syncs": SYNCS, "writes": WRITES, "calls_of_files": OF_FILES}
    return {name: sum(calls.get(call, 0) for call in kind) for name, kind in kinds.items()}


def instructions(check, clip):
    check.record(
        clip, ["valgrind", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={check.room}/cachegrind"]
    )
    return {"instructions": int(re.findall(r"I\s+refs:\s+([\d,]+)", check.output())[-1].replace(",", ""))}


def allocations(check, clip):
    """Each is a line that begins with a plus."""
    check.record(clip, ["heaptrack", "--raw", "-o", check.room / "heap"])
    recorded = check.room / "heap.raw.zst"
    with subprocess.Popen(["zstd", "-dc", recorded], stdout=subprocess.PIPE) as unpacked:
        return {"allocations": sum(line.startswith(b"+") for line in unpacked.stdout)}


def idle(check, seconds=20):
    """Times that a thread of a private agent runs, in so many seconds."""
    check.world.tell("privacy", "on")
    running = check.agent.start()
    # Until what the start did has ended.
    time.sleep(13)
    pid = running.pid()
    before = peers.switches(pid)
    time.sleep(seconds)
    counted = peers.switched(before, peers.switches(pid))
    running.stop()
    running.end(30)
    return counted


def main():
    parser = argparse.ArgumentParser()
    for name in ("kasacamd", "devcloud", "clip", "room", "budgets"):
        parser.add_argument(f"--{name}", type=lambda text: pathlib.Path(text).absolute(), required=True)
    arguments = parser.parse_args()
    budgets = tomllib.loads(arguments.budgets.read_text())
    check = Check(arguments)
    failed = 0
    try:
        print("| figure | measured | budget | tolerance | |\n|---|---:|---:|---:|---|")
        for name, value in figures(check):
            budget = budgets[name]
            most = budget["budget"] * (1 + budget["tolerance"])
            verdict = "ok" if value <= most else "above its budget"
            failed += verdict != "ok"
            print(f"| {name} | {value:.0f} | {budget['budget']} | {budget['tolerance']:.0%} | {verdict} |", flush=True)
    finally:
        check.world.close()
    shutil.rmtree(check.room, ignore_errors=True)
    print(f"{len(budgets) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
