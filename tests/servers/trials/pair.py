"""One direction between two servers, and what every check of it shares."""

import itertools
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import objects
from .ferry import End, Ferry, Outcome
from .objects import Item
from .proxy import Proxy, Rule
from .servers import Server

CHECKS: list[tuple[str, Callable[["Pair"], None]]] = []
_numbers = itertools.count(1)


class Skipped(Exception):
    """Raised by a check that does not apply, with the reason."""


def check(name: str):
    """Registers a function of a pair as a named check."""

    def register(function: Callable[["Pair"], None]):
        CHECKS.append((name, function))
        return function

    return register


@dataclass
class Trial:
    """A source bucket, a destination bucket, and the proxies in front of them."""

    pair: "Pair"
    source_bucket: str
    destination_bucket: str
    source_proxy: Proxy
    destination_proxy: Proxy

    def ends(self) -> tuple[tuple[End, str], tuple[End, str]]:
        """Both ends and their buckets, by way of the proxies."""
        pair = self.pair
        both = (
            (pair.source, self.source_proxy, self.source_bucket),
            (pair.destination, self.destination_proxy, self.destination_bucket),
        )

        def end(server: Server, proxy: Proxy) -> End:
            provider = server.provider if pair.providers else None
            return End(proxy.endpoint, server.access_key, server.secret_key, provider)

        source, destination = ((end(server, proxy), bucket) for server, proxy, bucket in both)
        return source, destination

    def counts(self) -> tuple[Counter, Counter]:
        """Requests that each side has seen, by kind."""
        return self.source_proxy.counts(), self.destination_proxy.counts()

    def fill(self, items: list[Item]):
        """Puts objects into the source, past the proxy."""
        objects.fill(self.pair.source.client(), self.source_bucket, items)

    def fill_destination(self, items: list[Item]):
        """Puts objects into the destination, past the proxy."""
        objects.fill(self.pair.destination.client(), self.destination_bucket, items)

    def put(self, key: str, body: bytes, **extra):
        """Puts one object into the source, past the proxy."""
        objects.put(self.pair.source.client(), self.source_bucket, Item(key, body, extra))

    def delete(self, key: str):
        """Deletes one object of the source, past the proxy."""
        self.pair.source.client().delete_object(Bucket=self.source_bucket, Key=key)

    def held(self) -> dict[str, objects.Held]:
        """What the destination holds, past the proxy."""
        return objects.read_all(self.pair.destination.client(), self.destination_bucket)

    def run(self, verb: str = "sync", *flags: str) -> Outcome:
        """Runs `ferry` between the two buckets, through the proxies."""
        return self.pair.ferry.run(verb, *self.ends(), *flags)

    def start(self, verb: str, *flags: str) -> subprocess.Popen:
        """Starts `ferry` between the two buckets, through the proxies."""
        return self.pair.ferry.start(verb, *self.ends(), *flags)

    def expect_done(self, *flags: str, verb: str = "sync") -> Outcome:
        """Runs `ferry`, which must end in agreement."""
        outcome = self.run(verb, *flags)
        assert outcome.code == 0, f"{verb} was to end in agreement: {outcome}"
        return outcome

    def rules(self, source: tuple[Rule, ...] = (), destination: tuple[Rule, ...] = ()):
        """Forgets what the proxies saw, and gives them new rules."""
        self.source_proxy.reset(*source)
        self.destination_proxy.reset(*destination)

    def kill(self, process: subprocess.Popen):
        """Kills the program, and waits until what it had sent has arrived."""
        process.kill()
        process.wait()
        self.source_proxy.settle()
        self.destination_proxy.settle()

    def two_pages(self, small: int) -> int:
        """How many objects make two pages of a listing: few where the proxy can ask for smaller ones."""
        if self.pair.source.checks_credentials or self.pair.destination.checks_credentials:
            return 1100
        self.source_proxy.page_size = self.destination_proxy.page_size = small * 2 // 3
        return small

    def assert_same_listing(self):
        """Both buckets list the same keys, sizes and ETags: the cheap comparison for many plain objects."""
        wanted = objects.listing(self.pair.source.client(), self.source_bucket)
        found = objects.listing(self.pair.destination.client(), self.destination_bucket)
        assert wanted == found, f"{sorted(wanted.items() ^ found.items())[:8]}"

    def assert_same(self, with_etag: bool = False, prefix: str = "", destination_prefix: str = ""):
        """Both buckets hold the same, read with boto3 byte by byte and header by header."""
        wanted = objects.read_all(self.pair.source.client(), self.source_bucket, prefix)
        found = objects.read_all(self.pair.destination.client(), self.destination_bucket, destination_prefix)
        problems = [f"{key!r} is missing" for key in wanted if key not in found]
        problems += [f"{key!r} is extra" for key in found if key not in wanted]
        for key in wanted.keys() & found.keys():
            problems += [f"{key!r}: {what}" for what in wanted[key].differences(found[key], with_etag)]
        assert not problems, f"{len(problems)} differences: " + "; ".join(sorted(problems)[:8])


@dataclass
class Pair:
    """A direction: source, destination and the program."""

    source: Server
    destination: Server
    ferry: Ferry
    providers: bool
    """Name each server's provider, rather than let both be `other`."""
    unholdable: dict[str, dict[str, str]] = field(default_factory=dict)
    """By server: the keys of items it does not give back as boto3 put them, and why."""

    @property
    def name(self) -> str:
        """How reports name the direction."""
        return f"{self.source.name}→{self.destination.name}"

    @contextmanager
    def trial(self):
        """Fresh buckets and fresh proxies; the buckets go afterwards."""
        number = next(_numbers)
        buckets = f"trial-{number}-source", f"trial-{number}-destination"
        ends = [(self.source, buckets[0]), (self.destination, buckets[1])]
        for server, bucket in ends:
            objects.ensure_bucket(server.client(), bucket)
        source_proxy, destination_proxy = Proxy(self.source.endpoint), Proxy(self.destination.endpoint)
        with source_proxy, destination_proxy:
            yield Trial(self, *buckets, source_proxy, destination_proxy)
        for server, bucket in ends:
            objects.remove_bucket(server.client(), bucket)
        broken = source_proxy.broken + destination_proxy.broken
        assert not broken, "a rule of the trial itself failed: " + broken[0]

    def holdable(self, items: list[Item]) -> list[Item]:
        """Those that both servers give back as they were put."""
        refused = self.unholdable[self.source.name] | self.unholdable[self.destination.name]
        return [item for item in items if item.key not in refused]
