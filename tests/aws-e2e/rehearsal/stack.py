"""The stack as the emulator can hold it, and deploying it with an unmodified `sam deploy`."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

# What ministack 1.5.33 refuses: alarms with metric math, and saved queries of Logs Insights. Nothing depends on them.
LEFT_OUT = ("FailureRatioAlarm", "FailuresByReason", "HistoryOfAKey")


def stage(root: Path, work: Path) -> Path:
    """A copy of the template without what the emulator refuses, beside the code it points at."""
    text = (root / "infra/aws/template.yaml").read_text()
    kept, dropping = [], False
    for line in text.splitlines(keepends=True):
        if line.startswith("  ") and line[2] not in " #-\n":
            dropping = line.strip().rstrip(":") in LEFT_OUT
        elif not line.startswith(" ") and line.strip():
            dropping = False
        if not dropping:
            kept.append(line)
    text = "".join(kept)
    # Its poller takes numbers that come from parameters for text, and stops for every mapping.
    for parameter in ("MaximumConcurrency", "LargeMaximumConcurrency"):
        text = text.replace(f"MaximumConcurrency: !Ref {parameter} }}", "MaximumConcurrency: 4 }")
    home = work / "stack"
    (home / "infra/aws").mkdir(parents=True)
    template = home / "infra/aws/template.yaml"
    template.write_text(text)
    for name in ("finder", "worker", "events", "export"):
        code = home / "target/lambda" / name
        code.mkdir(parents=True)
        shutil.copy(root / f"target/debug/ferry-{name}", code / "bootstrap")
        # Line tables are four fifths of a debug build.
        subprocess.run(["strip", str(code / "bootstrap")], check=False)
    return template


def deploy(template: Path, cache: Path, endpoint: str, parameters: dict[str, str]) -> str:
    """Runs `sam deploy`; what it said."""
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    command = [
        str(cache / "aws-sam/bin/sam"), "deploy", "--template-file", str(template), "--stack-name", "ferry",
        "--resolve-s3", "--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "--no-confirm-changeset", "--no-progressbar",
        "--parameter-overrides", *overrides,
    ]
    env = {**os.environ, "AWS_ENDPOINT_URL": endpoint, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, env=env, cwd=template.parent, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"sam deploy ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def describe(path: Path) -> str:
    """A file's size, for the record."""
    packed = path.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "bootstrap")
    return f"{packed.stat().st_size / 2**20:.1f} MiB zipped"
