"""Running the `ferry` program between two servers."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

RUN_LIMIT_SECS = 240


@dataclass
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict:
        """The JSON report of a sync."""
        return json.loads(self.stdout.strip().splitlines()[-1])

    def __str__(self):
        return f"exit {self.code}\n{self.stdout[-3000:]}\n{self.stderr[-3000:]}"


@dataclass
class End:
    """One side of a command line: an endpoint and the keys it is to be asked with."""

    endpoint: str
    access_key: str
    secret_key: str
    provider: str | None = None


@dataclass
class Ferry:
    """The program, and a directory without a `ferry.yaml`."""

    program: Path
    home: Path

    def command(self, verb: str, source: tuple[End, str], destination: tuple[End, str], *flags: str):
        """The command line and the environment; each side is an end and `BUCKET[/PREFIX]`."""
        command, env = [str(self.program), verb], self.environment()
        for side, place, (end, bucket) in (("source", "src", source), ("dest", "dst", destination)):
            prefix = f"TRIAL_{side.upper()}"
            env[f"{prefix}_ACCESS_KEY_ID"] = end.access_key
            env[f"{prefix}_SECRET_ACCESS_KEY"] = end.secret_key
            command.append(f"{place}://{bucket}")
            flags += (f"--{side}-endpoint", end.endpoint, f"--{side}-credentials", f"env:{prefix}")
            if end.provider:
                flags += (f"--{side}-provider", end.provider)
        return [*command, *flags], env

    def run(self, verb: str, source: tuple[End, str], destination: tuple[End, str], *flags: str) -> Outcome:
        """Runs a command to its end, reporting as JSON."""
        command, env = self.command(verb, source, destination, *flags, "--json")
        done = subprocess.run(
            command,
            env=env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_SECS,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(
        self, verb: str, source: tuple[End, str], destination: tuple[End, str], *flags: str
    ) -> subprocess.Popen:
        """Starts a command; whoever asks for it ends it."""
        command, env = self.command(verb, source, destination, *flags, "--json")
        return subprocess.Popen(
            command, env=env, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def environment(self) -> dict[str, str]:
        """Nothing of the caller's that could change what is tried."""
        return {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "FERRY_")) and not name.lower().endswith("_proxy")
        } | {"HOME": str(self.home), "AWS_EC2_METADATA_DISABLED": "true"}
