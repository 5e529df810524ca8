"""What happens when a server fails, lies, or changes under a copy."""

import itertools
import re
import subprocess
import time
from collections.abc import Callable

from . import objects
from .objects import MIB, Item, bulk, pattern
from .pair import Pair, Trial, check
from .proxy import Dropped, Request, Response, Rule, refusal

LARGE = 22 * MIB + 11
"""Five parts of 5 MiB, four of which travel at once."""


def on(kind: str, key: str | None = None) -> Callable[[Request], bool]:
    """Matches requests of a kind, to one key where given."""
    return lambda request: request.kind == kind and key in (None, request.key)


def generation(name: str) -> Item:
    """One generation of a large object: same size each time, other bytes throughout."""
    return Item("object", pattern(name, LARGE), {"Metadata": {"generation": name}}, part_mib=5)


def digest(item: Item) -> str:
    """As [`objects.Held`] has it."""
    return objects.hashlib.sha256(item.body).hexdigest()


@check("an object overwritten between two ranged reads arrives as the new generation")
def overwritten_once(pair: Pair):
    with pair.trial() as trial:
        first, second = generation("first"), generation("second")
        trial.fill([first])

        def overwrite(_request: Request):
            trial.fill([second])

        third_read = Rule(_nth(on("GET", "object"), 3), before=overwrite, times=1)
        trial.rules(source=(third_read,))
        trial.expect_done()
        assert third_read.used == 1, "the object was never overwritten"
        trial.assert_same(with_etag=True)
        held = trial.held()["object"]
        assert dict(held.headers)["x-amz-meta-generation"] == "second", f"{held}"


@check("an object overwritten again and again is never mixed: it fails, or is one generation")
def overwritten_always(pair: Pair):
    with pair.trial() as trial:
        generations = [generation(str(number)) for number in range(4)]
        trial.fill(generations[:1])
        count = iter(range(1, 10_000))

        def overwrite(_request: Request):
            trial.fill([generations[next(count) % 4]])

        # Every third read: a copy in six parts is always caught in the middle.
        trial.rules(source=(Rule(_every(on("GET", "object"), 3), before=overwrite, times=12),))
        outcome = trial.run()
        trial.rules()
        held = trial.held()
        if held:
            whole = [item for item in generations if digest(item) == held["object"].sha256]
            assert whole, f"a mixture arrived: {outcome}"
            name = dict(held["object"].headers)["x-amz-meta-generation"]
            wanted = whole[0].extra["Metadata"]["generation"]
            assert name == wanted, "bytes of one generation, attributes of another"
        else:
            assert outcome.code == 1, f"nothing arrived, and yet: {outcome}"
        uploads = pair.destination.client().list_multipart_uploads(Bucket=trial.destination_bucket)
        assert not uploads.get("Uploads"), "uploads that came to nothing were left open"


@check("a small object overwritten after it was listed arrives as it is now")
def overwritten_after_listing(pair: Pair):
    with pair.trial() as trial:
        trial.fill(bulk(5))

        def overwrite(_request: Request):
            trial.put("bulk/00002", b"another length", ContentType="text/csv")

        trial.rules(source=(Rule(on("GET", "bulk/00002"), before=overwrite, times=1),))
        trial.expect_done()
        trial.assert_same(with_etag=True)


@check("an object deleted in the middle of its copy leaves nothing behind")
def deleted_meanwhile(pair: Pair):
    with pair.trial() as trial:
        trial.fill([generation("only"), *bulk(3)])

        def delete(_request: Request):
            trial.delete("object")

        trial.rules(source=(Rule(_nth(on("GET", "object"), 2), before=delete, times=1),))
        report = trial.expect_done().report
        assert (report["copied"], report["skipped"]) == (3, 1), str(report)
        trial.assert_same()


@check("a body that breaks off is read again")
def broken_body(pair: Pair):
    with pair.trial() as trial:
        trial.fill([*bulk(4), Item("six", pattern("six", 6 * MIB)), generation("a")])

        def cut(_request: Request, response: Response) -> Response:
            return Response(response.status, response.headers, response.body, cut_at=len(response.body) // 2)

        keys = ("bulk/00001", "six", "object")
        trial.rules(source=tuple(Rule(on("GET", key), after=cut, times=2) for key in keys))
        trial.expect_done()
        trial.assert_same(with_etag=True)


@check("a body that breaks off for ever fails its object alone, and nothing of it appears")
def broken_for_ever(pair: Pair):
    with pair.trial() as trial:
        trial.fill([*bulk(4), Item("whole", pattern("w", 2 * MIB)), Item("extra/8", pattern("8", 8 * MIB))])

        def cut(_request: Request, response: Response) -> Response:
            return Response(response.status, response.headers, response.body, cut_at=len(response.body) - 1)

        trial.rules(source=(Rule(on("GET", "whole"), after=cut),))
        outcome = trial.run()
        assert outcome.code == 1, str(outcome)
        assert [failure["key"] for failure in outcome.report["failures"]] == ["whole"], str(outcome)
        assert len(trial.held()) == 5 and "whole" not in trial.held()


@check("a byte flipped on the way from the source is noticed and read again")
def flipped_read(pair: Pair):
    with pair.trial() as trial:
        trial.fill([*bulk(4), Item("six", pattern("six", 6 * MIB))])

        def flip(_request: Request, response: Response) -> Response:
            return Response(response.status, response.headers, _flipped(response.body))

        keys = ("bulk/00001", "six")
        trial.rules(source=tuple(Rule(on("GET", key), after=flip, times=1) for key in keys))
        trial.expect_done()
        trial.assert_same(with_etag=True)


@check("a byte flipped on the way to the destination is noticed and written again")
def flipped_write(pair: Pair):
    with pair.trial() as trial:
        trial.fill([*bulk(4), Item("six", pattern("six", 6 * MIB)), generation("a")])

        def flip(request: Request):
            request.body = _flipped(request.body)

        rules = [Rule(on("PUT", key), before=flip, times=1) for key in ("bulk/00001", "six")]
        trial.rules(destination=(*rules, Rule(on("PART", "object"), before=flip, times=1)))
        trial.expect_done()
        trial.assert_same(with_etag=True)


@check("throttling, failures and lost connections pass")
def throttled(pair: Pair):
    with pair.trial() as trial:
        trial.fill([*bulk(40), generation("a"), Item("tagged", b"t", {"Tagging": "a=b"})])

        def lost(_request: Request):
            raise Dropped

        def answers(status: int, code: str):
            return lambda _request: refusal(status, code)

        def some() -> tuple[Rule, ...]:
            return (
                Rule(_every(lambda _request: True, 5), before=answers(503, "SlowDown"), times=12),
                Rule(_every(lambda _request: True, 7), before=answers(500, "InternalError"), times=6),
                Rule(_every(lambda _request: True, 11), before=lost, times=4),
            )

        trial.rules(source=some(), destination=some())
        trial.expect_done()
        trial.rules()
        trial.assert_same(with_etag=True)


@check("a write whose reply is lost is neither a failure nor made in vain")
def lost_reply(pair: Pair):
    with pair.trial() as trial:
        trial.fill([*bulk(6), generation("a")])
        trial.fill_destination([Item("bulk/00003", b"older")])

        def lose(_request: Request, _response: Response) -> Response:
            raise Dropped

        lost = [("PUT", "bulk/00001"), ("PUT", "bulk/00003"), ("COMPLETE", "object"), ("PART", "object")]
        trial.rules(destination=tuple(Rule(on(*write), after=lose, times=1) for write in lost))
        trial.expect_done()
        trial.rules()
        trial.assert_same(with_etag=True)


@check("an error inside a successful answer to a completion is an error")
def error_in_success(pair: Pair):
    with pair.trial() as trial:
        trial.fill([generation("a")])

        def fail(_request: Request):
            document = refusal(200, "InternalError")
            return Response(200, document.headers, document.body)

        trial.rules(destination=(Rule(on("COMPLETE", "object"), before=fail, times=1),))
        trial.expect_done()
        trial.assert_same(with_etag=True)
        trial.rules(destination=(Rule(on("COMPLETE"), before=fail),))
        trial.fill([generation("b")])
        outcome = trial.run()
        assert outcome.code == 1, str(outcome)


@check("a listing that fails, lies or breaks off never ends in agreement, and nothing is deleted")
def broken_listings(pair: Pair):
    with pair.trial() as trial:
        items = bulk(trial.two_pages(small=80))
        trial.fill(items)
        trial.fill_destination([*items, Item("extra", b"x"), Item("zzz", b"x")])
        expected = len(objects.keys(pair.destination.client(), trial.destination_bucket))
        problems = []
        mirror = ("sync", "--delete", "--max-delete", "100%")
        for side, (verb, *flags) in itertools.product(("source", "destination"), (mirror, ("verify",))):
            for name, rule in _listing_faults():
                if verb == "verify" and name not in ("500 from page 2 on", "half of the XML of page 2"):
                    continue
                trial.rules(**{side: (rule,)})
                outcome = trial.run(verb, *flags)
                left = len(objects.keys(pair.destination.client(), trial.destination_bucket))
                wrong = {
                    f"exit {outcome.code}": outcome.code in (0, 3),
                    "the fault never happened": rule.used == 0,
                    f"{expected - left} objects were deleted": left != expected,
                }
                where = f"{verb}, {name} at the {side}"
                problems += [f"{where}: {what}" for what, is_so in wrong.items() if is_so]
        assert not problems, "; ".join(problems)


@check("a run that is killed is finished by the next one")
def killed(pair: Pair):
    with pair.trial() as trial:
        trial.fill([*bulk(150), generation("a"), Item("six", pattern("six", 6 * MIB))])
        command, env = pair.ferry.command("sync", *trial.ends(), "--concurrency", "4")
        process = subprocess.Popen(
            command, env=env, cwd=pair.ferry.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while trial.destination_proxy.counts()["PUT"] < 30 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
        process.wait()
        _assert_no_torn(trial)
        trial.expect_done()
        trial.assert_same(with_etag=True)


def _assert_no_torn(trial: Trial):
    """What is at the destination is what is at the source, however little."""
    wanted = objects.read_all(trial.pair.source.client(), trial.source_bucket)
    for key, held in trial.held().items():
        assert held == wanted[key], f"{key!r} is not as at the source"


def _listing_faults() -> list[tuple[str, Rule]]:
    """A page that cannot be had or trusted, each as a fresh rule."""

    def later(request: Request) -> bool:
        return request.goes_on

    def whole_listing(request: Request) -> bool:
        # Not the look before a run, which asks for one key.
        return request.kind == "LIST" and request.query.get("max-keys") != ["1"]

    def page(change: Callable[[bytes], bytes]):
        return lambda _request, answer: Response(answer.status, answer.headers, change(answer.body))

    def garbled(body: bytes) -> bytes:
        middle = body.index(b"<Contents>", len(body) // 2)
        return body[:middle] + b"<Contents><Key>a</Size></Contents>" + body[middle:]

    def without_token(body: bytes) -> bytes:
        return re.sub(rb"<NextContinuationToken>.*?</NextContinuationToken>", b"", body)

    def cut_off(_request: Request, answer: Response) -> Response:
        return Response(answer.status, answer.headers, answer.body, cut_at=len(answer.body) // 2)

    page_of_html = Response(200, [("Content-Type", "text/html")], b"<html><body>Please log in</body></html>")
    return [
        ("500 from page 2 on", Rule(later, before=lambda _r: refusal(500, "InternalError"))),
        ("403 on page 2", Rule(later, before=lambda _r: refusal(403, "AccessDenied"))),
        ("404 on page 2", Rule(later, before=lambda _r: refusal(404, "NoSuchBucket"))),
        ("no body on page 2", Rule(later, before=lambda _r: Response(200))),
        ("HTML on page 2", Rule(later, before=lambda _r: page_of_html)),
        ("connection lost in page 2", Rule(later, after=cut_off)),
        ("half of the XML of page 2", Rule(later, after=page(lambda body: body[: len(body) // 2]))),
        ("garbled XML", Rule(whole_listing, after=page(garbled))),
        ("truncated without a token", Rule(whole_listing, after=page(without_token))),
        ("page 1 again and again", Rule(later, before=_first_page_again)),
    ]


def _first_page_again(request: Request):
    """Turns a request for a later page into one for the first."""
    names = ("continuation-token", "marker")
    path, _, query = request.target.partition("?")
    kept = [pair for pair in query.split("&") if pair.partition("=")[0] not in names]
    request.target = f"{path}?{'&'.join(kept)}"


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def _nth(matches: Callable[[Request], bool], number: int) -> Callable[[Request], bool]:
    """Only the n-th match."""
    return _counted(matches, lambda count: count == number)


def _every(matches: Callable[[Request], bool], number: int) -> Callable[[Request], bool]:
    """Every n-th match."""
    return _counted(matches, lambda count: count % number == 0)


def _counted(matches, wanted):
    seen = 0

    def counting(request: Request) -> bool:
        nonlocal seen
        if not matches(request):
            return False
        seen += 1
        return wanted(seen)

    return counting
