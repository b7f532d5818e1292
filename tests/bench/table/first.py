"""From the first frame of a source to the first fragment that no power cut takes: clips at their own pace."""

import json
import socket
import subprocess
import time

import peers

# Frames of a GOP, which is a fragment, of a clip of 15 frames a second.
GOPS = (30, 8)
# The agent is asked so often whether something is committed: it is told no sooner than that.
LOOK = 0.005


def rows(bench, runs):
    """For each length of a fragment, in seconds: of each run the seconds from the start of the process to the first frame,
    and from there until the first fragment is committed."""
    agent = peers.Agent(bench)
    for gop in GOPS:
        clip = bench.room / f"gop-{gop}.mp4"
        source = "testsrc2=size=1920x1080:rate=15:duration=10"
        coding = ["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "baseline", "-g", str(gop), "-b:v", "2M"]
        subprocess.run(
            ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", source, *coding, "-pix_fmt", "yuv420p", clip],
            check=True,
        )
        yield gop / 15, [once(bench, agent, clip) for _ in range(runs)]


def once(bench, agent, clip):
    agent.board(clip, True)
    began = now()
    running = agent.start()
    try:
        while not committed(bench.world.device / "control.sock"):
            if running.is_over() or now() > began + 30:
                raise SystemExit(f"nothing was committed: {running.said()}")
            time.sleep(LOOK)
        until = now()
        first = captured(bench.world.device / "state" / "spool")
    finally:
        running.stop()
        running.end(30)
    return first - began, until - first


def now():
    """By the clock of the records."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def committed(address):
    """Whether a frame is committed, by what the agent says of itself."""
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5)
            control.connect(str(address))
            control.sendall(b'{"command":"status"}\n')
            answer = control.makefile().readline()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return json.loads(answer)["capture"]["frames_committed"] > 0


def captured(spool):
    """When the first frame was captured: the record of its segment says so."""
    name, front = b'"start_mono":', min(spool.glob("0*")).read_bytes()[:4096]
    digits = front[front.index(name) + len(name) :].split(b",")[0].split(b"}")[0]
    return int(digits) / 1e9
