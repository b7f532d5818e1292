"""What hours without a store leave, and what it costs to send that once there is one: two runs of the agent for each.

The footage is small (a frame a second, segments of half a minute), since what grows with the hours is the number of segments:
what a byte costs `make bench` says.
"""

import os
import subprocess
import time

from alone import Alone
from measure import Running

HOURS = [1, 6, 24]
SEGMENT, GOP = 30, 10  # seconds


class Outage(Alone):
    def __init__(self, kasacamd, devcloud, room):
        settings = ["--telemetry", "60s", "--set", 'spool.max_bytes="4 GiB"', "--set", 'spool.min_free="0"']
        super().__init__(kasacamd, devcloud, room, settings, segment=SEGMENT, fragment=GOP)

    def rows(self):
        """Hours, segments, CPU seconds and MiB and seconds of sending them, requests a segment."""
        for hours in HOURS:
            count = self.record(hours)
            before = self.world.requests()
            cost = self.drain(count)
            yield hours, count, cost, (self.world.requests() - before) / count

    def record(self, hours):
        """Leaves so many hours of footage in the spool; the number of its segments."""
        clip = self.room / "clip.mp4"
        source = f"testsrc=size=160x120:rate=1:duration={hours * 3600}"
        coding = ["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "baseline", "-g", str(GOP)]
        coding += ["-x264-params", "scenecut=0", "-pix_fmt", "yuv420p"]
        ffmpeg = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", source, *coding, clip]
        subprocess.run(ffmpeg, check=True)
        self.world.tell("store", "down")
        self.agent.board(clip, False)
        agent = self.agent.start()
        self.wait(agent, lambda spool: any(name.endswith(".end") for name in spool))
        agent.stop()
        agent.end(60)
        self.world.tell("store", "up")
        return len([name for name in self.spool() if name.endswith(".mp4")])

    def drain(self, count):
        # There is no camera: nothing is added.
        self.agent.board(self.room / "no-camera.mp4", True)
        before = self.world.events()
        agent = Running([self.kasacamd, "run", "--config", self.world.agent], self.room)
        self.wait(agent, lambda spool: not any(name.endswith((".mp4", ".end")) for name in spool))
        agent.stop()
        cost = agent.end(60)
        stored = [key for key in self.world.stored_since(before) if key.endswith(".mp4")]
        if len(set(stored)) != count:
            raise SystemExit(f"{count} segments waited, {len(set(stored))} are stored")
        return cost

    def spool(self):
        spool = self.world.device / "state" / "spool"
        return os.listdir(spool) if spool.exists() else []

    def wait(self, agent, done):
        until = time.monotonic() + 600
        while not done(self.spool()):
            if agent.is_over() or time.monotonic() > until:
                raise SystemExit(f"it does not come to an end: {agent.said()}")
            time.sleep(0.1)
