"""Starting and ending the servers on free loopback ports."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config

START_LIMIT_SECS = 60


@dataclass
class Server:
    """A running server, and how to talk to it."""

    name: str
    endpoint: str
    access_key: str = "test"
    secret_key: str = "testtesttest"
    """The provider that knows this make; `other` where none does."""
    provider: str = "other"
    checks_credentials: bool = False
    processes: list[subprocess.Popen] = field(default_factory=list)

    def client(self):
        """A boto3 client that adds nothing of its own: no checksums, no retries that hide a fault."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                retries={"max_attempts": 1, "mode": "standard"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                max_pool_connections=32,
                proxies={},
            ),
        )

    def stop(self):
        """Ends every process of this server, the last started first."""
        for process in reversed(self.processes):
            end(process)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def spawn(command: list[str], log: Path, env: dict[str, str] | None = None) -> subprocess.Popen:
    """Starts a process in a group of its own, its output in a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )


def end(process: subprocess.Popen):
    """Ends a process and its children, by its own group id."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue


def wait_for(url: str, process: subprocess.Popen, log: Path):
    """Waits until the server answers anything at all."""
    deadline = time.monotonic() + START_LIMIT_SECS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            opener.open(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} did not start; the end of its log:\n{log.read_text(errors='replace')[-2000:]}")


def moto(cache: Path, work: Path) -> Server:
    """moto's stand-alone server."""
    port, log = free_port(), work / "moto.log"
    process = spawn([str(cache / "moto/bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)], log)
    server = Server("moto", f"http://127.0.0.1:{port}", processes=[process])
    return _ready(server, f"{server.endpoint}/moto-api/", log)


def ministack(cache: Path, work: Path) -> Server:
    """ministack, S3 at its root."""
    port, log = free_port(), work / "ministack.log"
    env = {
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "WARNING",
    }
    process = spawn([str(cache / "ministack/bin/ministack")], log, env)
    server = Server("ministack", f"http://127.0.0.1:{port}", processes=[process])
    return _ready(server, f"{server.endpoint}/_ministack/health", log)


def _ready(server: Server, url: str, log: Path) -> Server:
    try:
        wait_for(url, server.processes[-1], log)
    except BaseException:
        server.stop()
        raise
    return server
