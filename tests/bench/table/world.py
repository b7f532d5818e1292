"""The cloud that all are measured against: the development cloud, with Garage behind its TLS where that is built."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import time


def ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [it.getsockname()[1] for it in held]
    for it in held:
        it.close()
    return numbers


class World:
    """Runs until `close`."""

    def __init__(self, dir, devcloud, garage, arguments):
        self.dir, self.devcloud, self.processes = dir, devcloud, []
        self.garage = garage if garage and os.access(garage, os.X_OK) else None
        dir.mkdir(mode=0o700, parents=True)
        self.cloud = dir / "cloud"
        behind = []
        if self.garage:
            subprocess.run(
                [devcloud, "--dir", self.cloud, "issue", "cam-0001"], check=True, stdout=subprocess.DEVNULL
            )
            behind = self._start_garage()
        ready = self._spawn(
            [devcloud, "--dir", self.cloud, "serve", "--any-put", *behind, *arguments], stdout=subprocess.PIPE
        )
        self.ready = json.loads(ready.stdout.readline() or "{}")
        if "s3_port" not in self.ready:
            raise SystemExit(f"the development cloud did not start: {self.dir}")
        key = dict(
            line.split(" = ") for line in (self.cloud / "storage.toml").read_text().splitlines() if " = " in line
        )
        self.access, self.secret = (json.loads(key[name]) for name in ("access_key_id", "secret_access_key"))
        self.endpoint = f"https://localhost:{self.ready['s3_port']}"
        self.ca = self.cloud / "pki" / "ca.pem"
        self.region = "garage" if self.garage else "us-east-1"
        self.agent = self.ready["agent_toml"]
        self.device = self.cloud / "cam-0001"

    def _spawn(self, arguments, **how):
        log = open(self.dir / f"process-{len(self.processes)}.log", "wb")
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=log, **how)
        self.processes.append(child)
        return child

    def _start_garage(self):
        store, rpc = ports(2)
        config = self.dir / "garage.toml"
        config.touch(mode=0o600)
        config.write_text(
            f"""metadata_dir = "{self.dir}/garage/meta"
data_dir = "{self.dir}/garage/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secrets.token_hex(32)}"

[s3_api]
api_bind_addr = "127.0.0.1:{store}"
s3_region = "garage"
"""
        )

        def garage(*arguments):
            done = subprocess.run(
                [self.garage, "-c", config, *arguments], capture_output=True, text=True, timeout=20, check=True
            )
            return done.stdout

        self._spawn([self.garage, "-c", config, "server"], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while True:
            try:
                garage("status")
                break
            except subprocess.CalledProcessError:
                if time.monotonic() > until:
                    raise SystemExit(f"Garage did not start: {self.dir}") from None
                time.sleep(0.2)
        node = garage("node", "id").split("@")[0].strip()
        garage("layout", "assign", "-z", "here", "-c", "40G", node)
        garage("layout", "apply", "--version", "1")
        garage("bucket", "create", "kasa-care")
        made = garage("key", "create", "camera")
        found = {line.split(":")[0].strip(): line.split(":")[1].strip() for line in made.splitlines() if ":" in line}
        file = self.cloud / "storage.toml"
        file.touch(mode=0o600)
        file.write_text(f'access_key_id = "{found["Key ID"]}"\nsecret_access_key = "{found["Secret key"]}"\n')
        garage("bucket", "allow", "--read", "--write", "kasa-care", "--key", "camera")
        return [
            "--store-port", str(store), "--store-region", "garage",
            "--set", 'upload.region="garage"', "--set", "upload.tags=false",
        ]

    def tell(self, *arguments):
        done = subprocess.run(
            [self.devcloud, "--dir", self.cloud, *arguments], capture_output=True, text=True, timeout=60
        )
        if done.returncode != 0:
            raise SystemExit(f"{arguments}: {done.stdout} {done.stderr}")
        return json.loads(done.stdout)

    def requests(self):
        """Requests that the store has had."""
        return self.tell("status")["store"]["requests"]

    def events(self):
        path = self.cloud / "events.jsonl"
        return path.stat().st_size if path.exists() else 0

    def stored_since(self, size):
        """Keys of the objects that the store took since the events had this size."""
        with open(self.cloud / "events.jsonl", "rb") as file:
            file.seek(size)
            text = file.read()
        lines = text[: text.rfind(b"\n") + 1].splitlines()
        events = (json.loads(line) for line in lines if b'"object_stored"' in line)
        return [event["key"] for event in events]

    def fresh(self):
        """The camera begins anew: it has recorded nothing and knows nothing."""
        shutil.rmtree(self.device / "state", ignore_errors=True)

    def close(self):
        for child in reversed(self.processes):
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
