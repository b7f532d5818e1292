"""What is measured: the agent, and what a user might have instead. Each is given the same clip and the same store."""

import datetime
import hashlib
import hmac
import os
import shutil
import subprocess
import time
import urllib.parse

from measure import Cost, Running, page, run, ticks

SEGMENT = 10  # seconds
BUCKET = "kasa-care"


def empty(dir):
    shutil.rmtree(dir, ignore_errors=True)
    dir.mkdir(parents=True)
    return dir


class Peer:
    """One line of the table. `skipped` says why it cannot be run here."""

    name = ""
    # Runs in real time: not as often, and not compared with what goes as fast as it can.
    live = False
    skipped = None

    def __init__(self, bench):
        self.bench = bench

    def needs(self, program):
        found = shutil.which(program)
        if not found:
            self.skipped = f"{program} is not installed"
        return found


class MuxFloor(Peer):
    name = "floor: GStreamer into one file"

    def run(self):
        out = self.bench.room / "floor.mp4"
        line = f"filesrc location={self.bench.clip} ! qtdemux ! h264parse ! mp4mux ! filesink location={out}"
        cost = run(["gst-launch-1.0", "-q", *line.split()], self.bench.room)
        out.unlink()
        return cost


class LiveFloor(Peer):
    name = "floor: GStreamer into one file"
    live = True

    def run(self):
        out = self.bench.room / "floor.mp4"
        line = (
            f"filesrc location={self.bench.minute} ! qtdemux ! h264parse ! mp4mux fragment-duration=500"
            f" ! filesink location={out} sync=true"
        )
        cost = run(["gst-launch-1.0", "-q", *line.split()], self.bench.room)
        out.unlink()
        return cost


class PutFloor(Peer):
    name = "floor: curl, one connection"

    def run(self):
        # The same objects each time; the addresses are signed, so that curl has nothing to sign or hash.
        config = self.bench.room / "curl.conf"
        config.touch(mode=0o600)
        ca = self.bench.world.ca
        lines = ["silent", "show-error", "fail", f'cacert = "{ca}"', 'header = "Expect:"']
        for file in sorted(self.bench.objects.iterdir()):
            key = f"peers/curl/{time.time_ns()}-{file.name}"
            lines += [f'url = "{presigned(self.bench.world, key)}"', f'upload-file = "{file}"']
        config.write_text("\n".join(lines) + "\n")
        cost = run(["curl", "-K", config], self.bench.room)
        config.unlink()
        return cost


class Segments(Peer):
    """ffmpeg makes segments, another program moves them to the store."""

    def segments(self):
        out = empty(self.bench.room / "segments")
        split = [
            "ffmpeg", "-v", "error", "-nostdin", "-i", self.bench.clip, "-c", "copy", "-f", "segment",
            "-segment_time", SEGMENT, "-reset_timestamps", 1, "-segment_format_options", "movflags=+faststart",
            out / "%05d.mp4",
        ]
        return out, run(split, self.bench.room)


class Rclone(Segments):
    name = "ffmpeg + rclone move"

    def __init__(self, bench):
        super().__init__(bench)
        self.needs("rclone")

    def run(self):
        out, split = self.segments()
        world = self.bench.world
        config = self.bench.room / "rclone.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"[store]\ntype = s3\nprovider = Other\naccess_key_id = {world.access}\n"
            f"secret_access_key = {world.secret}\nendpoint = {world.endpoint}\nregion = {world.region}\n"
        )
        move = [
            "rclone", "--config", config, "--ca-cert", world.ca, "--s3-no-check-bucket", "move", out,
            f"store:{BUCKET}/peers/rclone/{time.time_ns()}",
        ]
        return split + run(move, self.bench.room)


class Aws(Segments):
    name = "ffmpeg + aws s3 mv"

    def __init__(self, bench):
        super().__init__(bench)
        # Debian's, where there is another one before it on the path.
        self.aws = "/usr/bin/aws" if os.access("/usr/bin/aws", os.X_OK) else self.needs("aws")

    def run(self):
        out, split = self.segments()
        world = self.bench.world
        credentials = self.bench.room / "aws-credentials"
        credentials.touch(mode=0o600)
        credentials.write_text(
            f"[default]\naws_access_key_id = {world.access}\naws_secret_access_key = {world.secret}\n"
        )
        env = {
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_DEFAULT_REGION": world.region,
            "AWS_CA_BUNDLE": str(world.ca),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        move = [
            self.aws, "--endpoint-url", world.endpoint, "s3", "mv", "--only-show-errors", "--recursive", out,
            f"s3://{BUCKET}/peers/aws/{time.time_ns()}/",
        ]
        return split + run(move, self.bench.room, env)


class PutObjectSink(Peer):
    name = "GStreamer, awss3putobjectsink"

    def __init__(self, bench):
        super().__init__(bench)
        self.plugins = os.environ.get("GST_PLUGIN_AWS", "")
        seen = subprocess.run(
            ["gst-inspect-1.0", "--exists", "awss3putobjectsink"], env={**os.environ, "GST_PLUGIN_PATH": self.plugins}
        )
        if seen.returncode != 0:
            self.skipped = (
                "Debian has no package of it; libgstaws.so of the crate gst-plugin-aws, in a folder that"
                " GST_PLUGIN_AWS names, is used"
            )

    def run(self):
        world = self.bench.world
        env = {
            "GST_PLUGIN_PATH": self.plugins,
            "AWS_ACCESS_KEY_ID": world.access,
            "AWS_SECRET_ACCESS_KEY": world.secret,
            "SSL_CERT_FILE": str(world.ca),
        }
        line = (
            f"filesrc location={self.bench.clip} ! qtdemux ! h264parse ! mp4mux fragment-duration={SEGMENT * 1000}"
            f" streamable=true ! awss3putobjectsink bucket={BUCKET} key=peers/sink/{time.time_ns()}/%05d.mp4"
            f" region={world.region} endpoint-uri={world.endpoint} force-path-style=true"
            f" next-file=max-duration max-file-duration={SEGMENT}000000000"
        )
        return run(["gst-launch-1.0", "-q", *line.split()], self.bench.room, env)


class MediaMtx(Peer):
    name = "MediaMTX"
    skipped = "neither Debian nor the Go module proxy has it"


class Agent(Peer):
    """kasacamd, with a board whose camera is the clip."""

    name = "**kasacamd**"

    def board(self, clip, realtime):
        board = self.bench.world.dir / "board.toml"
        board.write_text(
            f"""name = "bench"
[video]
source = {{ kind = "file", path = "{clip}", realtime = {str(realtime).lower()}, loop = false }}
format = "h264"
width = 1920
height = 1080
fps = 15
bitrate = "2 Mbit/s"
"""
        )

    def start(self):
        self.bench.world.fresh()
        arguments = [self.bench.kasacamd, "run", "--config", self.bench.world.agent]
        return Running(arguments, self.bench.room, log=self.bench.room / "kasacamd.log")

    def all_sent(self, agent, before, frames):
        """Waits until everything is in the store, without asking the agent."""
        spool = self.bench.world.device / "state" / "spool"
        until = time.monotonic() + 300
        waiting, stored = [], []
        while time.monotonic() < until and not agent.is_over():
            waiting = [it for it in os.listdir(spool) if not it.startswith(".")] if spool.exists() else ["none yet"]
            waiting = [it for it in waiting if it.endswith((".mp4", ".open", ".end"))]
            if not waiting:
                stored = self.bench.world.stored_since(before)
                if len([key for key in stored if key.endswith(".mp4")]) * SEGMENT * 15 >= frames:
                    return stored
            time.sleep(0.05)
        raise SystemExit(f"not everything was stored: {waiting} {len(stored)}\n{agent.said()}")

    def record(self, clip, realtime, frames):
        self.board(clip, realtime)
        before = self.bench.world.events()
        agent = self.start()
        self.all_sent(agent, before, frames)
        agent.stop()
        return agent.end(30)

    def run(self):
        return self.record(self.bench.clip, False, self.bench.seconds * 15)


class LiveAgent(Agent):
    live = True

    def run(self):
        return self.record(self.bench.minute, True, 60 * 15)


class IdleAgent(Agent):
    """Private, and connected: a minute of it, from fifteen seconds after the start on."""

    name = "**kasacamd**, private and idle"
    live = True

    def run(self):
        self.board(self.bench.minute, True)
        self.bench.world.tell("privacy", "on")
        agent = self.start()
        time.sleep(15)
        pid = agent.pid()
        before, threads = state(pid), switches(pid)
        time.sleep(60)
        after, counted = state(pid), switched(threads, switches(pid))
        agent.stop()
        agent.end(30)
        self.bench.world.tell("privacy", "off")
        return Cost(after[0] - before[0], after[1], counted, after[2] - before[2], 60)


class EmptyProcess(Peer):
    name = "an empty GStreamer process"
    live = True

    def run(self):
        return run(["gst-launch-1.0", "-q", "fakesrc", "num-buffers=1", "!", "fakesink"], self.bench.room)


def switches(pid):
    """Of each thread of a process that runs."""
    counted = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        lines = open(f"/proc/{pid}/task/{thread}/status").read().splitlines()
        counted[thread] = sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
    return counted


def switched(before, after):
    """Between two looks; what a thread did that has ended meanwhile is not known."""
    return sum(count - before.get(thread, 0) for thread, count in after.items())


def state(pid):
    """CPU seconds, resident MiB, and MB written, of all threads of a process that runs."""
    # The process's own clock counts threads that have ended too, in ticks.
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    cpu = (int(fields[11]) + int(fields[12])) / ticks()
    resident = int(open(f"/proc/{pid}/statm").read().split()[1]) * page() / (1 << 20)
    written = next(int(it.split()[1]) for it in open(f"/proc/{pid}/io") if it.startswith("write_bytes"))
    return cpu, resident, written / 1e6


def presigned(world, key):
    """The address of a PUT that anybody may do for an hour (AWS Signature Version 4, in the query)."""
    host = world.endpoint.removeprefix("https://")
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{world.region}/s3/aws4_request"
    quote = urllib.parse.quote
    query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}"
        for name, value in sorted(
            {
                "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
                "X-Amz-Credential": f"{world.access}/{scope}",
                "X-Amz-Date": now,
                "X-Amz-Expires": "3600",
                "X-Amz-SignedHeaders": "host",
            }.items()
        )
    )
    path = quote(f"/{BUCKET}/{key}")
    canonical = f"PUT\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signing = f"AWS4{world.secret}".encode()
    for part in scope.split("/"):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()
    return f"https://{host}{path}?{query}&X-Amz-Signature={signature}"
