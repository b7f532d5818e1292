"""`make bench-arm`: instructions of the agent on 32-bit ARM, beside a pipeline of GStreamer alone.

    arm.py --emulator "qemu-arm -L ROOT" --plugin FILE --gstreamer FOLDER --kasacamd PATH --launch PATH --seal PATH
           --devcloud PATH --clip FILE --room DIR [--runs N]

Each program runs under QEMU's user emulation, with a plugin that counts the instructions of all its threads
(instructions.c); those of the kernel are not counted. Each gets a minute of video, and then its first seconds: the table has
the difference, so that the start is not part of it.
"""

import argparse
import array
import os
import pathlib
import shlex
import shutil
import time

import peers
from alone import Alone
from measure import Running, run, spread

# Seconds of the clip, and of its beginning that is recorded for comparison.
LONG, SHORT = 60, 4
# Seconds that a private agent runs before it is measured, and for which it is measured.
SETTLED, IDLE = 20, 60
FRAMES = 15  # a second
# A CPU of cameras, and one with instructions for AES and SHA-256.
WITHOUT, WITH = "cortex-a7", "max"
RECORDS = 512  # of 16 KiB


class Arm(Alone):
    def __init__(self, arguments):
        super().__init__(arguments.kasacamd, arguments.devcloud, arguments.room, ["--telemetry", "60s"])
        self.programs, self.clip = arguments, arguments.clip
        self.short = self.beginning(self.clip, SHORT)
        self.counted = self.room / "counted"
        # GStreamer looks at its plugins in a process of its own, which would not be emulated.
        self.env = {
            "GST_REGISTRY": str(self.room / "registry"),
            "GST_REGISTRY_FORK": "no",
            "GST_PLUGIN_SYSTEM_PATH_1_0": str(arguments.gstreamer),
        }

    def under(self, program, cpu=WITHOUT):
        plugin = f"{self.programs.plugin},out={self.counted}"
        return [*shlex.split(self.programs.emulator), "-cpu", cpu, "-plugin", plugin, program]

    def instructions(self):
        """Of the program that runs now or ran last, so far."""
        return sum(array.array("Q", self.counted.read_bytes())[::8])

    def of(self, program, *arguments, cpu=WITHOUT):
        """Of a program that ends by itself."""
        run([*self.under(program, cpu), *arguments], self.room, self.env, 300)
        return self.instructions()

    def start(self, fresh=True):
        if fresh:
            self.world.fresh()
        (self.room / "last.log").unlink(missing_ok=True)
        return Running([*self.under(self.programs.kasacamd), "run", "--config", self.world.agent], self.room, self.env)


def launch(arm, clip, how, sync):
    out = arm.room / "floor.mp4"
    line = f"filesrc location={clip} ! qtdemux ! h264parse ! mp4mux {how} ! filesink location={out} sync={sync}"
    counted = arm.of(arm.programs.launch, "-q", *line.split())
    out.unlink()
    return counted


def floor(arm, clip, _seconds):
    return launch(arm, clip, "", "false")


def live_floor(arm, clip, _seconds):
    return launch(arm, clip, "fragment-duration=500", "true")


def recording(arm, clip, seconds):
    """The broker is down, so footage waits until the owner's choice is received: nothing is sent or hashed."""
    sending(arm, arm.short, SHORT)
    arm.agent.board(clip, False)
    arm.world.tell("broker", "down")
    spool = arm.world.device / "state" / "spool"
    agent = arm.start(fresh=False)
    wanted = -(-seconds // peers.SEGMENT)
    until = time.monotonic() + 240
    while True:
        names = os.listdir(spool) if spool.exists() else []
        if len([it for it in names if it.endswith(".mp4")]) == wanted and not any(it.endswith(".open") for it in names):
            break
        if agent.is_over() or time.monotonic() > until:
            raise SystemExit(f"{names}: not {wanted} segments\n{agent.said()}")
        time.sleep(0.05)
    agent.stop()
    agent.end(60)
    arm.world.tell("broker", "up")
    return arm.instructions()


def sending(arm, clip, seconds, realtime=False):
    arm.agent.board(clip, realtime)
    before = arm.world.events()
    agent = arm.start()
    arm.agent.all_sent(agent, before, seconds * FRAMES)
    agent.stop()
    agent.end(60)
    return arm.instructions()


def live(arm, clip, seconds):
    return sending(arm, clip, seconds, True)


def idle(arm):
    arm.world.tell("privacy", "on")
    agent = arm.start()
    time.sleep(SETTLED)
    before = arm.instructions()
    time.sleep(IDLE)
    after = arm.instructions()
    agent.stop()
    agent.end(60)
    arm.world.tell("privacy", "off")
    return after - before


def a_minute(arm, measure):
    """Instructions of a minute of video in millions, without the start."""
    long, short = measure(arm, arm.clip, LONG), measure(arm, arm.short, SHORT)
    return (long - short) * 60 / (LONG - SHORT) / 1e6


def rows(arm, runs):
    """The rows of the table."""
    fast = [
        ("floor: GStreamer into one file", floor),
        ("**kasacamd**, recording alone", recording),
        ("**kasacamd**, recording and sending", sending),
    ]
    counted = {name: [] for name, _ in fast}
    for _ in range(runs):
        for name, measure in fast:
            counted[name].append(a_minute(arm, measure))
    base = sorted(counted[fast[0][0]])[runs // 2]
    for name, values in counted.items():
        yield f"| as fast as it goes: {name} | {spread(values, '{:.0f}')} | {sorted(values)[runs // 2] / base:.2f} |"
    lived = [a_minute(arm, live_floor), a_minute(arm, live)]
    yield f"| live: floor: GStreamer into one file | {lived[0]:.0f} | 1.00 |"
    yield f"| live: **kasacamd**, recording and sending | {lived[1]:.0f} | {lived[1] / lived[0]:.2f} |"
    quiet = idle(arm) / 1e6 * 60 / IDLE
    yield f"| **kasacamd**, private and idle | {quiet:.1f} | {quiet / lived[0]:.3f} |"


def sealing(arm):
    """Instructions for each byte, by algorithm and processor."""
    for name in ("chacha20-poly1305", "aes-128-gcm", "aes-256-gcm", "sha-256"):
        cells = []
        for cpu in (WITHOUT, WITH):
            many = arm.of(arm.programs.seal, name, str(RECORDS + 1), cpu=cpu)
            few = arm.of(arm.programs.seal, name, "1", cpu=cpu)
            cells.append(f"{(many - few) / RECORDS / 16384:.1f}")
        yield f"| {name} | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--runs", type=int, default=3)
    for name in ("plugin", "gstreamer", "kasacamd", "launch", "seal", "devcloud", "clip", "room"):
        parser.add_argument(f"--{name}", type=lambda text: pathlib.Path(text).absolute(), required=True)
    arguments = parser.parse_args()
    arm = Arm(arguments)
    try:
        # The first run makes GStreamer's registry.
        floor(arm, arm.short, SHORT)
        print(f"\nCPU {WITHOUT}, N = {arguments.runs} as fast as it goes, 1 live; medians (least–greatest)\n")
        print("| a minute of video on ARMv7 | million instructions | of the floor |\n|---|---:|---:|", flush=True)
        for row in rows(arm, arguments.runs):
            print(row, flush=True)
        print(f"\n| instructions for a byte, records of 16 KiB | {WITHOUT} | {WITH}, which has AES and SHA-256 |\n|---|---:|---:|")
        for row in sealing(arm):
            print(row, flush=True)
    finally:
        arm.world.close()
    shutil.rmtree(arm.room, ignore_errors=True)


main()
