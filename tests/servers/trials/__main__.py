"""Runs every check in every direction and prints one line for each.

Arguments: the program, the cache directory with a virtual environment for each server, and a work directory.
"""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from . import ceph, faithful, faults, guarded, kills, objects, pair, refusals, servers
from .ferry import Ferry
from .pair import Pair, Skipped

CHECK_MODULES = (faithful, faults, guarded, kills, refusals)
CHECKS_AT_ONCE = 4


class Tally:
    """Counts outcomes and prints one line for each."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, word: str, name: str, detail: str = ""):
        """One outcome."""
        print(f"{word:<5} {name}{': ' + detail if detail else ''}", flush=True)
        self.passed += word == "ok"
        self.failed += word == "FAIL"
        self.skipped += word == "skip"


def start(tally: Tally, stack: ExitStack, cache: Path, work: Path) -> dict[str, servers.Server]:
    """Every server that is installed; the others are skipped by name."""
    running = {}
    starters = {"moto": servers.moto, "ministack": servers.ministack}
    if os.environ.get("FERRY_TEST_CEPH") != "1":
        tally.add("skip", "ceph", "set FERRY_TEST_CEPH=1 to try it")
    elif ceph.missing():
        tally.add("skip", "ceph", f"not installed: {', '.join(ceph.missing())}")
    else:
        starters["ceph"] = ceph.ceph
    for name, starter in starters.items():
        if name in ("moto", "ministack") and not (cache / name / "bin").is_dir():
            tally.add("skip", name, "it could not be installed")
            continue
        server = starter(cache, work)
        stack.callback(server.stop)
        running[name] = server
    return running


def directions(running: dict[str, servers.Server]) -> list[tuple[str, str, bool]]:
    """Source, destination, and whether both are told their provider."""
    wanted = [
        ("moto", "ministack", False),
        ("ministack", "moto", False),
        ("ministack", "ceph", False),
        ("ceph", "ministack", True),
        ("ceph", "moto", False),
        ("moto", "ceph", True),
    ]
    return [(one, other, told) for one, other, told in wanted if one in running and other in running]


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", default="", help="checks whose name or direction contains this")
    args = parser.parse_args()
    home = args.work / "home"
    home.mkdir()
    # A build that is stopped leaves no server behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    tally, ferry = Tally(), Ferry(args.program.resolve(), home)
    with ExitStack() as stack:
        running = start(tally, stack, args.cache, args.work)
        items = objects.awkward() + objects.attributed()
        unholdable = {}
        for name, server in running.items():
            unholdable[name] = objects.unholdable(server.client(), "trial-probe", items)
            for key, reason in unholdable[name].items():
                print(f"      {name} does not hold {key[:40]!r}: {reason}")
        for one, other, told in directions(running):
            run_checks(tally, Pair(running[one], running[other], ferry, told, unholdable), args.only)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed or not tally.passed else 0


def run_checks(tally: Tally, direction: Pair, only: str):
    """Every check in one direction, a few at a time: most of their time is spent waiting for a retry."""

    def run(named: tuple[str, Callable[[Pair], None]]) -> tuple[str, str, str]:
        name, function = named
        title, began = f"{direction.name}: {name}", time.monotonic()
        try:
            function(direction)
        except Skipped as reason:
            return "skip", title, str(reason)
        except AssertionError as error:
            return "FAIL", title, str(error)
        except Exception:
            return "FAIL", title, traceback.format_exc()
        return "ok", f"{title} ({time.monotonic() - began:.1f} s)", ""

    wanted = [(name, function) for name, function in pair.CHECKS if only in f"{direction.name}: {name}"]
    with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool:
        for outcome in pool.map(run, wanted):
            tally.add(*outcome)


if __name__ == "__main__":
    sys.exit(main())
