"""The agent alone, with a cloud of its own: what the scripts beside table.py begin with."""

import shutil
import subprocess

import peers
from world import World


class Alone:
    """The room is emptied. The plan is premium, and the owner allows recording."""

    def __init__(self, kasacamd, devcloud, room, settings, segment=peers.SEGMENT, fragment=2, history=()):
        self.kasacamd, self.room = kasacamd, room
        shutil.rmtree(self.room, ignore_errors=True)
        self.room.mkdir(parents=True)
        board = self.room / "world" / "board.toml"
        self.world = World(
            self.room / "world", devcloud, None,
            ["--board", str(board), "--segment", f"{segment}s", "--fragment", f"{fragment}s", *settings],
        )
        self.world.tell("plan", "premium", *history)
        self.world.tell("privacy", "off")
        self.agent = peers.Agent(self)

    def beginning(self, clip, seconds):
        """A copy of the first seconds of the clip."""
        short = self.room / "short.mp4"
        cut = ["ffmpeg", "-v", "error", "-nostdin", "-i", clip, "-t", str(seconds), "-c", "copy", short]
        subprocess.run(cut, check=True)
        return short
