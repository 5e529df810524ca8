"""The functions' binaries between moto's S3, SQS and SSM, under a host and pollers that behave as Lambda does.

    python -m poller ROOT CACHE WORK [TEXT]

Runs the trials whose name contains TEXT side by side, since most of them wait for a timeout; prints one line for each.
"""

import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from poller import broken, poison, whole  # noqa: F401 (each registers its trials)
from poller.world import SECRETS, TRIALS, World, moto

AT_ONCE = 8


def run(world: World, name: str, function) -> tuple[bool, str]:
    """One trial: whether it passed, and what to print."""
    began = time.monotonic()
    try:
        function(world)
    except AssertionError as error:
        return False, f"FAIL  {name}: {error}"
    except Exception:
        return False, f"FAIL  {name}: {traceback.format_exc(limit=-4)}"
    return True, f"ok    {name} ({time.monotonic() - began:.0f} s)"


def main() -> int:
    """How many trials failed."""
    root, cache, work = map(Path, sys.argv[1:4])
    only = sys.argv[4] if len(sys.argv) > 4 else ""
    # A build that is stopped leaves no process behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    world, failed = World(moto(cache, work), root, work), 0
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            wanted = [(name, function) for name, function in TRIALS if only in name]
            try:
                for passed, line in pool.map(lambda named: run(world, *named), wanted):
                    print(line, flush=True)
                    failed += not passed
            except BaseException:
                # The pool waits for what is under way.
                pool.shutdown(wait=False, cancel_futures=True)
                world.end()
                raise
        passed, line = run(world, f"none of {len(SECRETS)} secrets is in any line of any function", World.assert_no_secret_shown)
        print(line, flush=True)
        failed += not passed
    finally:
        world.end()
    return failed


if __name__ == "__main__":
    sys.exit(main() > 0)
