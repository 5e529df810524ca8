"""What happens when `ferry` is killed, or runs twice at once."""

import subprocess
import threading
import time

from .objects import MIB, Item, bulk, pattern
from .pair import Pair, Trial, check
from .proxy import Request, Response, Rule

PARTS = 12
PART_MIB = 5
SIZE = (PARTS * PART_MIB - 1) * MIB + 11


def _object(name: str, part_mib: int | None = PART_MIB) -> Item:
    """One generation of an object in twelve parts: same size each time, other bytes throughout."""
    return Item("object", pattern(name, SIZE), {"Metadata": {"generation": name}}, part_mib=part_mib)


def _part_number(request: Request) -> int:
    return int(request.query["partNumber"][0])


def _killed_after(trial: Trial, parts: int, *flags: str) -> set[int]:
    """Starts a sync and kills it when so many parts were acknowledged; returns which the program had been told of."""
    acknowledged: list[int] = []
    enough = threading.Event()

    def note(request: Request, response: Response) -> Response:
        if response.status == 200:
            acknowledged.append(_part_number(request))
        if len(acknowledged) >= parts:
            enough.set()
            # Whatever else is on its way stays there until the program is gone.
            time.sleep(1)
        return response

    trial.rules(destination=(Rule(lambda request: request.kind == "PART", after=note),))
    process = trial.start("sync", *flags)
    try:
        assert enough.wait(60), f"{len(acknowledged)} parts in a minute: {_ended(process)}"
        told = set(acknowledged[: parts - 1])
    finally:
        trial.kill(process)
    return told


def _ended(process: subprocess.Popen) -> str:
    process.kill()
    return str(process.communicate())


def _parts_sent(trial: Trial) -> list[int]:
    log = trial.destination_proxy.log
    return [_part_number(request) for request in log if request.kind == "PART"]


def _open_uploads(pair: Pair, trial: Trial) -> list[dict]:
    uploads = pair.destination.client().list_multipart_uploads(Bucket=trial.destination_bucket)
    return uploads.get("Uploads", [])


@check("killed in mid-upload: the next run sends no part twice that was acknowledged")
def resumed(pair: Pair):
    for part_mib in (PART_MIB, None):
        with pair.trial() as trial:
            trial.fill([_object("only", part_mib), *bulk(3)])
            flags = () if part_mib else ("--part-size", f"{PART_MIB}MiB")
            told = _killed_after(trial, 5, *flags)
            trial.rules()
            trial.expect_done(*flags)
            sent = _parts_sent(trial)
            assert not told & set(sent), f"acknowledged {sorted(told)}, sent again {sorted(sent)}"
            assert len(set(sent)) == len(sent), f"a part was sent twice: {sorted(sent)}"
            trial.assert_same(with_etag=part_mib is not None)
            assert not _open_uploads(pair, trial), "an upload was left open"


@check("killed in mid-upload, then the source changes: parts of two generations never meet")
def resumed_with_another_generation(pair: Pair):
    with pair.trial() as trial:
        trial.fill([_object("first")])
        _killed_after(trial, 5)
        trial.fill([_object("second")])
        trial.rules()
        trial.expect_done()
        trial.assert_same(with_etag=True)
        assert dict(trial.held()["object"].headers)["x-amz-meta-generation"] == "second"
        assert not _open_uploads(pair, trial), "the upload of the old generation was left open"


@check("killed again and again among many objects: the last run finds the rest, and only the rest")
def killed_among_many(pair: Pair):
    with pair.trial() as trial:
        trial.fill(bulk(120))
        for at in (20, 60):
            written = threading.Event()
            count = iter(range(1, 10_000))

            def note(_request: Request, response: Response, at=at, count=count, written=written) -> Response:
                if next(count) >= at:
                    written.set()
                return response

            trial.rules(destination=(Rule(lambda request: request.kind == "PUT", after=note),))
            process = trial.start("sync")
            try:
                assert written.wait(60), _ended(process)
            finally:
                trial.kill(process)
        trial.rules()
        held = len(trial.held())
        report = trial.expect_done().report
        assert report["copied"] == 120 - held, f"{held} were there, copied {report['copied']}"
        trial.assert_same(with_etag=True)


@check("two runs at once end well, and what they leave is whole")
def twice_at_once(pair: Pair):
    with pair.trial() as trial:
        trial.fill([_object("only"), *bulk(40)])
        processes = [trial.start("sync") for _ in range(2)]
        for process in processes:
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, f"exit {process.returncode}: {out} {err}"
        trial.assert_same(with_etag=True)
        assert not _open_uploads(pair, trial), "an upload was left open"
