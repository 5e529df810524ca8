"""The whole path, and what may happen to it without anything being broken."""

import hmac
import json
import random
import time
from collections import Counter

from poller.world import SECRETS, Stack, World, trial
from trials import objects
from trials.objects import MIB, Item, bulk, pattern
from trials.proxy import Request, Response, Rule


@trial("the finder enqueues, the workers copy: small objects, large ones, and one in parts by many")
def everything_arrives(world: World):
    with Stack(world, "whole", task={"large": {"part_jobs_above": "40MiB"}}) as stack:
        odd = objects.awkward() + objects.attributed()
        refused = objects.unholdable(stack.s3, "whole-probe", odd)
        items = [item for item in odd if item.key not in refused]
        items += bulk(300)
        items += [Item(f"large/{size}", pattern(f"large {size}", size * MIB + 1), part_mib=5) for size in (6, 11)]
        items.append(Item("huge", pattern("huge", 46 * MIB), {"Metadata": {"note": "kept"}}, part_mib=5))
        objects.fill(stack.s3, stack.source, items)

        finder = stack.function("finder", 300, AWS_LAMBDA_LOG_LEVEL="TRACE")
        # What can be seen at the most talkative level is what no secret may be among.
        small = stack.mapping(stack.worker(AWS_LAMBDA_LOG_LEVEL="TRACE"), window_secs=0.5, pollers=2)
        large = stack.mapping(stack.worker(900, "large"), "large", pollers=2)
        with small, large, stack.mapping(finder, "scans"):
            found = finder.invoke({"task": "whole"}).payload
            assert found["report"]["enqueued"] == len(items), found
            stack.until_done()
        stack.assert_same()
        stack.assert_no_dead_letters()
        again = finder.invoke({"task": "whole"}).payload
        assert again["report"]["enqueued"] == 0 and again["report"]["found"] == len(items), again
        assert not small.broken + large.broken, small.broken + large.broken
        errors = [each.error for each in small.invocations + large.invocations if each.error]
        assert not errors, errors
        parts = [record for each in large.invocations for record in each.records if '"part":' in record["body"]]
        assert len(parts) == 10, f"the largest object in {len(parts)} jobs"
        assert max(len(each.records) for each in small.invocations) > 10, "no batch was larger than one receive"


@trial("every message comes twice, and each batch too: nothing is written twice, and nothing wrong")
def twice(world: World):
    with Stack(world, "twice") as stack:
        items = [*bulk(60), Item("parts", pattern("twice", 11 * MIB), part_mib=5)]
        objects.fill(stack.s3, stack.source, items)
        stack.function("finder", 300).invoke({"task": "twice"})
        for lane in ("jobs", "large"):
            bodies = [message["Body"] for message in stack.take_all(lane)] * 2
            random.Random(lane).shuffle(bodies)
            stack.send(*bodies, lane=lane)
        # A completion that is repeated is one: it answers as it did before.
        written: set[tuple[str, str]] = set()

        def note(request: Request, response: Response) -> Response:
            if response.status == 200:
                written.add((request.key, request.query.get("uploadId", [str(len(written))])[0]))
            return response

        writes = lambda request: request.kind in ("PUT", "COMPLETE")  # noqa: E731
        stack.destination_proxy.reset(Rule(writes, after=note))
        small = stack.mapping(stack.worker(), batch_size=10, pollers=2, deliveries=2)
        large = stack.mapping(stack.worker(900, "large"), "large", pollers=2, deliveries=2)
        with small, large:
            stack.until_done()
        stack.assert_same()
        stack.assert_no_dead_letters()
        counts = Counter(key for key, _ in written)
        assert counts == Counter(item.key for item in items), {key: count for key, count in counts.items() if count > 1}
        delivered = sum(len(each.records) for each in small.invocations + large.invocations)
        assert delivered == 2 * len(items), f"{delivered} messages of {len(items)} jobs"

        # One that comes late brings what is there now, not what it was sent for.
        stack.s3.put_object(Bucket=stack.source, Key=items[0].key, Body=b"newer than the message")
        late = {"key": items[0].key, "size": len(items[0].body), "task": "twice"}
        with stack.mapping(stack.worker()):
            stack.send(late, late)
            stack.until_done()
        stack.assert_same()


def _notification(bucket: str, keys: list[str]) -> dict:
    """What Alibaba OSS tells of new objects."""
    return {
        "events": [
            {
                "eventName": "ObjectCreated:PutObject",
                "eventSource": "acs:oss",
                "eventTime": "2026-03-14T06:21:35.000Z",
                "eventVersion": "1.0",
                "oss": {
                    "bucket": {"name": bucket, "arn": f"acs:oss:cn-hangzhou:1031234567890123:{bucket}"},
                    "object": {"key": key, "size": 5, "deltaSize": 5, "eTag": "7D73E1052AF595535DE90994F4C3E6D5"},
                    "ossSchemaVersion": "1.0",
                },
                "region": "cn-hangzhou",
            }
            for key in keys
        ]
    }


def _by_url(body: str, headers: dict[str, str]) -> dict:
    """A request to a Function URL, as the function gets it (payload format 2.0)."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", **headers},
        "requestContext": {"accountId": "anonymous", "http": {"method": "POST", "path": "/", "sourceIp": "203.0.113.9"}},
        "body": body,
        "isBase64Encoded": False,
    }


@trial("a notification of Alibaba OSS by the Function URL: its objects arrive, and nobody else's do")
def told(world: World):
    with Stack(world, "events") as stack:
        keys = ["备份/2026 年报+终稿 100%.pdf", "a b", "a//b", "dir/"]
        objects.fill(stack.s3, stack.source, [Item(key, f"the bytes of {key}".encode()) for key in [*keys, "untold"]])
        settings = {"FERRY_EVENT_SECRET": "ssm:/events/credentials/senders", "FERRY_EVENT_AUTH": "signature"}
        events = stack.function("events", 30, AWS_LAMBDA_LOG_LEVEL="TRACE", **settings)
        body = json.dumps(_notification(stack.source, keys))
        moment = str(int(time.time()))
        digest = hmac.new(SECRETS["the senders' secret"].encode(), f"{moment}.{body}".encode(), "sha256").hexdigest()
        signed = {"x-ferry-signature": f"t={moment},v1={digest}"}
        refused = [
            events.invoke(_by_url(sent, headers)).payload["statusCode"]
            for sent, headers in ((body, {}), (body + " ", signed))
        ]
        assert refused == [401, 401] and stack.waiting() == 0, refused
        taken = events.invoke(_by_url(body, signed))
        assert taken.error is None and taken.payload["statusCode"] == 200, taken
        assert stack.waiting("jobs") == len(keys), stack.waiting("jobs")
        with stack.mapping(stack.worker()):
            stack.until_done()
        stack.s3.delete_object(Bucket=stack.source, Key="untold")
        stack.assert_same()
        stack.assert_no_dead_letters()
