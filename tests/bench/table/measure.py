"""What a process costs, as the kernel counts it: wait4(2), and time(1) for the memory.

A process that we start inherits the peak of our own memory until it runs a program (getrusage(2)), so that the peak is
taken by time(1), which is small. Everything else counts the children that were waited for too.
"""

import os
import resource
import signal
import statistics
import subprocess
import time
from dataclasses import dataclass

TIME = "/usr/bin/time"
# What time(1) itself costs is below what the table shows.


@dataclass
class Cost:
    """Of one run."""

    cpu: float = 0.0  # seconds, user and system
    memory: float = 0.0  # MiB, the largest of its processes
    switches: int = 0  # of context, voluntary or not
    written: float = 0.0  # MB that the kernel was to write to a file system, whole pages
    wall: float = 0.0  # seconds

    def __add__(self, other):
        return Cost(
            self.cpu + other.cpu,
            max(self.memory, other.memory),
            self.switches + other.switches,
            self.written + other.written,
            self.wall + other.wall,
        )


class Running:
    """A program that runs under time(1)."""

    def __init__(self, arguments, room, env=None, log=None):
        self.memory = room / f"memory-{os.getpid()}-{time.monotonic_ns()}"
        self.began = time.monotonic()
        self.log = log or room / "last.log"
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(
                [TIME, "--quiet", "-f", "%M", "-o", str(self.memory), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**clean(), **(env or {})},
            )

    def pid(self):
        """Of the program itself, or None where it has ended or not begun."""
        try:
            text = open(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read().split()
        except OSError:
            return None
        return int(text[0]) if text else None

    def is_over(self):
        """It has ended, and nobody has asked yet how."""
        return os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def said(self):
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self):
        """Asks it to end."""
        if pid := self.pid():
            os.kill(pid, signal.SIGTERM)

    def kill(self):
        """Ends it."""
        if pid := self.pid():
            os.kill(pid, signal.SIGKILL)
        self.child.wait()

    def end(self, limit):
        """Its cost, once it has ended: within so many seconds, with 0."""
        until = time.monotonic() + limit
        while True:
            pid, status, usage = os.wait4(self.child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                self.kill()
                raise SystemExit(f"{self.child.args[6:9]} did not end within {limit} s: {self.log}")
            time.sleep(0.005)
        wall = time.monotonic() - self.began
        self.child.returncode = os.waitstatus_to_exitcode(status)
        if self.child.returncode != 0:
            raise SystemExit(f"{self.child.args[6:9]} ended with {self.child.returncode}:\n{self.said()}")
        memory = int(open(self.memory).read().split()[-1]) / 1024
        self.memory.unlink()
        return Cost(
            usage.ru_utime + usage.ru_stime,
            memory,
            usage.ru_nvcsw + usage.ru_nivcsw,
            usage.ru_oublock * 512 / 1e6,
            wall,
        )


def clean():
    """Our environment, without what clients of S3 read of it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def run(arguments, room, env=None, limit=600):
    """Runs a program to its end."""
    return Running(arguments, room, env).end(limit)


def median(values):
    return statistics.median(values)


def spread(values, form):
    """The median, and from the least to the greatest."""
    values = sorted(values)
    middle, least, most = median(values), values[0], values[-1]
    if form.format(least) == form.format(most):
        return form.format(middle)
    return f"{form.format(middle)} ({form.format(least)}–{form.format(most)})"


def ticks():
    """Of the clock by which /proc counts, a second."""
    return os.sysconf("SC_CLK_TCK")


def page():
    return resource.getpagesize()
