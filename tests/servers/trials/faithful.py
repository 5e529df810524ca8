"""What arrives: bytes, attributes, ETags, and no request too many."""

import time

from . import objects
from .objects import AWKWARD_KEYS, MIB, Item, attributed, awkward, body_of, bulk, large, pattern
from .pair import Pair, Skipped, check


@check("awkward keys, attributes, tags and empty objects arrive as they were")
def awkward_and_attributed(pair: Pair):
    with pair.trial() as trial:
        trial.fill(pair.holdable(awkward() + attributed()))
        trial.expect_done()
        trial.assert_same(with_etag=True)
        second = trial.expect_done().report
        assert second["copied"] == 0, f"a second run copied {second['copied']}"
        trial.expect_done("--read", "all", verb="verify")


@check("what the destination cannot hold is reported and never passed over")
def refused_is_reported(pair: Pair):
    refused = pair.unholdable[pair.destination.name]
    items = [
        item
        for item in awkward() + attributed()
        if item.key in refused and item.key not in pair.unholdable[pair.source.name]
    ]
    if not items:
        raise Skipped("the destination holds every one of them")
    with pair.trial() as trial:
        trial.fill(items)
        outcome = trial.run()
        failed = {failure["key"] for failure in outcome.report["failures"]}
        silent = {item.key for item in items} - failed
        assert outcome.code == (1 if failed else 0), str(outcome)
        if silent:
            again = trial.run("verify", "--read", "all")
            assert again.code == 3, f"{silent} arrived altered, and verify did not see it: {again}"


@check("a small untagged object takes exactly two requests besides listings")
def two_requests(pair: Pair):
    with pair.trial() as trial:
        count = trial.two_pages(small=400)
        trial.fill(bulk(count))
        trial.rules()
        report = trial.expect_done().report
        source, destination = trial.counts()
        lists = source.pop("LIST"), destination.pop("LIST")
        assert (source, destination) == ({"GET": count}, {"PUT": count}), f"{source} and {destination}"
        assert max(lists) <= 4, f"{lists} listings of a bucket of two pages"
        told = report["requests"]
        reported = told["source"]["requests"]["get"], told["destination"]["requests"]["put"]
        assert reported == (count, count), f"ferry reports {reported}"
        trial.assert_same_listing()


@check("a second run lists and copies nothing")
def second_run(pair: Pair):
    with pair.trial() as trial:
        trial.fill(bulk(100) + pair.holdable(awkward()))
        trial.expect_done()
        trial.rules()
        report = trial.expect_done().report
        assert (report["copied"], report["failed"]) == (0, 0), str(report)
        assert all(counts.keys() == {"LIST"} for counts in trial.counts()), f"{trial.counts()}"


@check("large objects, made of 5, 8 and 16 MiB parts or in one piece, keep bytes, attributes and ETags")
def large_objects(pair: Pair):
    with pair.trial() as trial:
        trial.fill(large())
        # Stores tell whole seconds: a copy within the second of its source would be made once more.
        time.sleep(1)
        trial.expect_done()
        trial.assert_same()
        wanted = objects.listing(pair.source.client(), trial.source_bucket)
        found = objects.listing(pair.destination.client(), trial.destination_bucket)
        changed = {key for key in wanted if wanted[key] != found[key]}
        # Above the threshold an object of one piece travels in parts; a small one of one part does not.
        expected = {"single/120-mib", "parts/only-one", "parts/ambiguous"}
        assert changed <= expected, f"other ETags for {changed}"
        second = trial.expect_done().report
        assert second["copied"] == 0, f"a second run copied {second['copied']}"


@check("only what changed is copied again")
def changes(pair: Pair):
    with pair.trial() as trial:
        trial.fill([*bulk(30), Item("parts", pattern("before", 11 * MIB), part_mib=5)])
        trial.expect_done()
        trial.put("bulk/00003", b"changed, other length")
        trial.put("bulk/00004", b"object X" * 20)
        trial.put("bulk/00004-new", b"new")
        trial.fill([Item("parts", pattern("after", 11 * MIB), part_mib=5)])
        report = trial.expect_done().report
        assert report["copied"] == 4, f"copied {report['copied']}, not the 4 that changed"
        trial.assert_same()


@check("versioned buckets: current versions are copied, delete markers are not objects")
def versioned(pair: Pair):
    with pair.trial() as trial:
        for client, bucket in (
            (pair.source.client(), trial.source_bucket),
            (pair.destination.client(), trial.destination_bucket),
        ):
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        trial.fill([*bulk(6), Item("parts", pattern("v", 41 * MIB), {"Tagging": "a=b"}, part_mib=8)])
        trial.put("bulk/00001", b"a second version")
        trial.delete("bulk/00002")
        trial.expect_done()
        trial.assert_same(with_etag=True)
        trial.put("bulk/00003", b"changed")
        trial.delete("bulk/00004")
        report = trial.expect_done("--delete", "--max-delete", "1").report
        assert (report["copied"], report["deleted"]) == (1, 1), str(report)
        trial.assert_same(with_etag=True)


@check("a prefix is mapped to another, byte for byte")
def prefixes(pair: Pair):
    with pair.trial() as trial:
        prefix, other = "from/a b/", "to+ü/"
        room = 1024 - max(len(prefix.encode()), len(other.encode()))
        good = {item.key for item in pair.holdable(awkward())}
        names = [key for key in AWKWARD_KEYS if key in good and len(key.encode()) <= room]
        trial.fill([Item(prefix + key, body_of(key)) for key in names] + [Item("from/a", b"outside")])
        (source, source_bucket), (destination, destination_bucket) = trial.ends()
        places = (source, f"{source_bucket}/{prefix}"), (destination, f"{destination_bucket}/{other}")
        outcome = pair.ferry.run("sync", *places)
        assert outcome.code == 0, str(outcome)
        trial.assert_same(True, prefix, other)


@check("verify sees one changed byte, one lost object and one changed attribute")
def verify_sees(pair: Pair):
    with pair.trial() as trial:
        trial.fill([*bulk(20), Item("typed", b"typed", {"ContentType": "text/plain"})])
        trial.expect_done()
        trial.expect_done(verb="verify")
        client, bucket = pair.destination.client(), trial.destination_bucket
        client.put_object(Bucket=bucket, Key="bulk/00001", Body=b"object 2" * 20)
        client.delete_object(Bucket=bucket, Key="bulk/00002")
        client.put_object(Bucket=bucket, Key="typed", Body=b"typed", ContentType="text/html")
        outcome = trial.run("verify", "--read", "all")
        assert outcome.code == 3, str(outcome)
        for key in ("bulk/00001", "bulk/00002", "typed"):
            assert key in outcome.stdout, f"{key} was not seen: {outcome}"


@check("extra objects are deleted only when asked, and only those")
def deletes(pair: Pair):
    with pair.trial() as trial:
        trial.fill(bulk(40))
        trial.fill_destination([Item("extra/1", b"x"), Item("extra/2", b"x")])
        report = trial.expect_done().report
        assert report["deleted"] == 0 and len(trial.held()) == 42, str(report)
        refused = trial.run("sync", "--delete", "--max-delete", "1")
        assert refused.code == 4 and len(trial.held()) == 42, str(refused)
        report = trial.expect_done("--delete").report
        assert report["deleted"] == 2, str(report)
        trial.assert_same()
