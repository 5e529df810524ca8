"""Functions that are killed, that hang, and that run out of time."""

import signal
import threading
import time
from collections import Counter

from poller.world import Stack, World, hops, trial, until
from trials import objects
from trials.objects import MIB, Item, bulk, pattern
from trials.proxy import Dropped, Request, Response, Rule


def _is_write(request: Request) -> bool:
    return request.kind in ("PUT", "PART")


class _At:
    """Does something once, when so many requests have reached the store and whoever sent the last of them does not know it yet."""

    def __init__(self, count: int, act):
        self.left, self.act, self.lock, self.done = count, act, threading.Lock(), threading.Event()

    def __call__(self, request: Request, response: Response) -> Response:
        with self.lock:
            self.left -= not request.is_abandoned()
            if self.left == 0 and not self.done.is_set():
                self.act()
                self.done.set()
        return response


@trial("the worker is killed in mid-batch, and in the middle of an object: nothing is lost, nothing given up")
def killed(world: World):
    with Stack(world, "kills", visibility_secs=20) as stack:
        items = [*bulk(120), Item("zz/parts", pattern("kills", 26 * MIB), part_mib=5)]
        objects.fill(stack.s3, stack.source, items)
        stack.function("finder", 300, FERRY_LARGE_QUEUE_URL="").invoke({"task": "kills"})
        worker = stack.worker(20, FERRY_LARGE_QUEUE_URL="")
        kill = lambda: worker.signal(signal.SIGKILL)  # noqa: E731
        among_many, in_parts = _At(25, kill), _At(3, kill)
        stack.destination_proxy.reset(
            Rule(lambda request: request.kind == "PUT", after=among_many), Rule(lambda request: request.kind == "PART", after=in_parts)
        )
        mapping = stack.mapping(worker, batch_size=20)
        with mapping:
            stack.until_done()
        stack.destination_proxy.settle()
        assert among_many.done.is_set() and in_parts.done.is_set()
        stack.assert_same()
        stack.assert_no_dead_letters()
        failed = [each for each in mapping.invocations if each.error]
        assert [each.error for each in failed] == ["Runtime.ExitError"] * 2, [each.answer for each in failed]
        assert not any(each.deleted for each in failed), "what a killed worker had was deleted"
        assert len(worker.pids_seen) == 2, "the two kills were of one process"
        lost = {record["messageId"] for each in failed for record in each.records}
        counts = Counter(record["messageId"] for each in mapping.invocations for record in each.records)
        assert all(counts[id_] > 1 for id_ in lost), "what a killed worker had did not come again"
        assert not mapping.broken, mapping.broken


@trial("a worker that hangs is ended by its timeout, and its batch comes again")
def hanging(world: World):
    with Stack(world, "hang", visibility_secs=17) as stack:
        objects.fill(stack.s3, stack.source, bulk(10))
        stack.function("finder", 300).invoke({"task": "hang"})
        worker = stack.worker(17)
        stack.destination_proxy.reset(Rule(_is_write, after=_At(4, lambda: worker.signal(signal.SIGSTOP))))
        mapping = stack.mapping(worker)
        with mapping:
            stack.until_done()
        stack.assert_same()
        stack.assert_no_dead_letters()
        first, *rest = mapping.invocations
        assert first.error == "Sandbox.Timedout" and 17 <= first.secs < 25 and not first.deleted, first
        assert rest and not any(each.error for each in rest), rest
        counts = {record["messageId"]: record["attributes"]["ApproximateReceiveCount"] for each in rest for record in each.records}
        again = [counts.get(record["messageId"]) for record in first.records]
        assert set(again) == {"2"}, again


@trial("the finder is killed in mid-listing, and then runs out of time again and again: no name is left out")
def interrupted_scan(world: World):
    with Stack(world, "scan", visibility_secs=22) as stack:
        items = bulk(200)
        objects.fill(stack.s3, stack.source, items)
        # It stops twenty seconds before its time is up, and lists eight of twenty pages until then.
        finder, turn = stack.function("finder", 22), threading.Lock()

        def wait(_request: Request):
            with turn:
                time.sleep(0.25)

        listings = lambda request: request.kind == "LIST"  # noqa: E731
        stack.source_proxy.page_size = 10
        stack.source_proxy.reset(Rule(listings, before=wait, after=_At(3, lambda: finder.signal(signal.SIGKILL))))
        stack.send({"action": "scan", "task": "scan", "run": "interrupted"}, lane="scans")
        scans = stack.mapping(finder, "scans")
        with scans:
            stack.until_done("scans")
        failed = [each for each in scans.invocations if each.error]
        assert [each.error for each in failed] == ["Runtime.ExitError"] and not failed[0].deleted, failed
        assert len(scans.invocations) >= 4, f"the rest of the range was put off {len(scans.invocations) - 2} times"
        with stack.mapping(stack.worker()):
            stack.until_done()
        stack.assert_same()
        stack.assert_no_dead_letters()


class _NarrowLine:
    """Lets parts pass one after the other; one that would have to wait for too long never arrives."""

    SECS_A_PART = 0.5
    PATIENCE_SECS = 1.5

    def __init__(self):
        self.lock, self.free_at = threading.Lock(), 0.0
        self.acknowledged: dict[int, float] = {}
        self.again: list[int] = []

    def before(self, request: Request):
        """Waits for its turn."""
        number, now = int(request.query["partNumber"][0]), time.monotonic()
        with self.lock:
            if number in self.acknowledged:
                self.again.append(number)
            begin = max(now, self.free_at)
            is_hopeless = begin - now > self.PATIENCE_SECS
            if not is_hopeless:
                self.free_at = begin + self.SECS_A_PART
        if is_hopeless:
            time.sleep(10)
            raise Dropped
        time.sleep(begin + self.SECS_A_PART - now)
        if request.is_abandoned():
            raise Dropped

    def after(self, request: Request, response: Response) -> Response:
        """Notes what the store has taken, and its sender will hear of."""
        if response.status == 200 and not request.is_abandoned():
            with self.lock:
                self.acknowledged[int(request.query["partNumber"][0])] = time.monotonic()
        return response


@trial("the time runs out in the middle of an object: it is handed on, and no part is sent twice that had been taken")
def out_of_time(world: World):
    with Stack(world, "deadline", visibility_secs=120) as stack:
        item = Item("large", pattern("deadline", 59 * MIB), part_mib=5)
        objects.fill(stack.s3, stack.source, [item, *bulk(5)])
        stack.function("finder", 300, FERRY_LARGE_QUEUE_URL="").invoke({"task": "deadline"})
        line = _NarrowLine()
        parts = lambda request: request.kind == "PART"  # noqa: E731
        stack.destination_proxy.reset(Rule(parts, before=line.before, after=line.after))
        # It stops fifteen seconds before its time is up.
        mapping = stack.mapping(stack.worker(18, FERRY_LARGE_QUEUE_URL=""))
        with mapping:
            stack.until_done()
        stack.assert_same()
        stack.assert_no_dead_letters()
        records = [record for each in mapping.invocations for record in each.records]
        assert not any(each.error for each in mapping.invocations), [each.answer for each in mapping.invocations]
        assert max(map(hops, records)) >= 2, f"it was handed on {max(map(hops, records))} times"
        assert {record["attributes"]["ApproximateReceiveCount"] for record in records} == {"1"}, "handing on counted as a failure"
        assert not line.again, f"sent again though taken: {line.again}"
        began = stack.destination_proxy.counts()["CREATE"]
        assert began == 1, f"{began} uploads were begun"
