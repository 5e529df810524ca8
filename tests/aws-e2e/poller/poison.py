"""Messages that can never succeed, among good ones."""

from poller.world import Stack, World, trial, until
from trials import objects
from trials.objects import bulk


def _good(count: int, task: str) -> list[dict]:
    return [{"key": item.key, "size": len(item.body), "task": task} for item in bulk(count)]


@trial("poison among good messages: the dead letters are exactly the poison, each with its reason")
def poisoned(world: World):
    with Stack(world, "poison") as stack:
        objects.fill(stack.s3, stack.source, bulk(40))
        stack.put_task("homeless", "no-such-bucket")
        poison = {
            "this is not JSON": "not JSON",
            '{"keys": 1}': "no key",
            '["key"]': "",
            '{"key": "bulk/00000", "size": 1, "task": "nobody"}': "no task",
            '{"key": "bulk/00000", "size": 1, "task": "homeless"}': "NoSuchBucket",
            '{"action": "scan"}': "scan",
        }
        good = _good(40, "poison")
        # A source object that has gone since is no failure: there is nothing to copy any more.
        mixed = [*good[:20], *poison, {"key": "gone", "size": 1}, *good[20:]]
        stack.send(*mixed)
        mapping = stack.mapping(stack.worker(), batch_size=10, pollers=2)
        with mapping:
            stack.until_done()
        stack.assert_same()
        letters = stack.dead_letters()
        assert letters.keys() == poison.keys(), sorted(letters.keys() ^ poison.keys())
        unexplained = {body: letters[body] for body, words in poison.items() if words not in letters[body] or not letters[body]}
        assert not unexplained, unexplained
        assert not any(each.error for each in mapping.invocations), "poison took a batch with it"


@trial("without a right to write dead letters the queue's own rule takes the poison, and nothing else")
def redriven(world: World):
    with Stack(world, "redrive", visibility_secs=25, max_receive_count=2) as stack:
        objects.fill(stack.s3, stack.source, bulk(20))
        poison, scans = ["this is not JSON", '{"keys": 1}'], ["no scan either"]
        good = _good(20, "redrive")
        stack.send(*good[:10], *poison, *good[10:])
        stack.send(*scans, lane="scans")
        worker = stack.mapping(stack.worker(FERRY_DEAD_LETTER_QUEUE_URL=""))
        finder = stack.mapping(stack.function("finder", 25), "scans")
        with worker, finder:
            until("the queue's rule has taken the poison", lambda: stack.waiting("dead") == 3)
            stack.until_done()
        stack.assert_same()
        letters = stack.dead_letters()
        assert letters.keys() == {*poison, *scans}, letters
        records = [record for each in worker.invocations for record in each.records]
        counts = {body: sum(record["body"] == body for record in records) for body in poison}
        assert set(counts.values()) == {2}, f"deliveries: {counts}"
        assert sum(len(each.deleted) for each in worker.invocations) == len(good)
