"""One function: its binary under the Runtime API host of `shared/testkit`."""

import json
import os
import signal
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from trials.servers import free_port, spawn, wait_for


@dataclass
class Answer:
    """What an invocation ended in."""

    payload: object
    """The function's answer, or the error's document."""
    error: str | None = None
    """The kind of error, as Lambda names it."""


@dataclass
class Function:
    """A binary that processes are started of as invocations want them. Use as a context manager."""

    host: Path
    program: Path
    timeout_secs: int
    variables: dict[str, str]
    log: Path
    endpoint: str = ""
    pids_seen: set[int] = field(default_factory=set)

    def __enter__(self):
        address = f"127.0.0.1:{free_port()}"
        self.endpoint = f"http://{address}"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        self._process = spawn([str(self.host), address, str(self.timeout_secs), str(self.program)], self.log, self.variables)
        try:
            wait_for(f"{self.endpoint}/sandboxes", self._process, self.log)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        """Ends the host and the processes that it has started, also one that was stopped."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def invoke(self, event: object) -> Answer:
        """Invokes it and waits."""
        request = urllib.request.Request(
            f"{self.endpoint}/2015-03-31/functions/{self.program.name}/invocations",
            data=json.dumps(event).encode(),
            headers={"Content-Type": "application/json"},
        )
        with self._open(request, timeout=self.timeout_secs + 30) as answer:
            payload = json.load(answer)
            failed = "x-amz-function-error" in answer.headers
        return Answer(payload, payload["errorType"] if failed else None)

    def pids(self) -> list[int]:
        """The processes that are running now."""
        with self._open(f"{self.endpoint}/sandboxes", timeout=10) as answer:
            pids = json.load(answer)["pids"]
        self.pids_seen.update(pids)
        return pids

    def signal(self, number: signal.Signals) -> list[int]:
        """Sends a signal to every process of it; which they were."""
        pids = self.pids()
        for pid in pids:
            os.kill(pid, number)
        return pids
