"""One direction between two servers, and what every check of it shares."""

import itertools
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

    def fill(self, items: list[Item]):
        """Puts objects into the source, past the proxy."""
        objects.fill(self.pair.source.client(), self.source_bucket, items)

    def fill_destination(self, items: list[Item]):
        """Puts objects into the destination, past the proxy."""
        objects.fill(self.pair.destination.client(), self.destination_bucket, items)

    def put(self, key: str, body: bytes, **extra):
        """Puts one object into the source, past the proxy."""
        objects.put(self.pair.source.client(), self.source_bucket, Item(key, body, extra))

    def held(self) -> dict[str, objects.Held]:
        """What the destination holds, past the proxy."""
        return objects.read_all(self.pair.destination.client(), self.destination_bucket)

    def run(self, verb: str = "sync", *flags: str) -> Outcome:
        """Runs `ferry` between the two buckets, through the proxies."""
        source, destination = self.pair.ends()
        return self.pair.ferry.run(
            verb, (source, self.source_bucket), (destination, self.destination_bucket), *flags
        )

    def expect_done(self, *flags: str, verb: str = "sync") -> Outcome:
        """Runs `ferry`, which must end in agreement."""
        outcome = self.run(verb, *flags)
        assert outcome.code == 0, f"{verb} was to end in agreement: {outcome}"
        return outcome

    def rules(self, source: tuple[Rule, ...] = (), destination: tuple[Rule, ...] = ()):
        """Forgets what the proxies saw, and gives them new rules."""
        self.pair.source_proxy.reset(*source)
        self.pair.destination_proxy.reset(*destination)

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
    """A direction: source, destination, the proxies before them, and the program."""

    source: Server
    destination: Server
    source_proxy: Proxy
    destination_proxy: Proxy
    ferry: Ferry
    providers: bool
    """Name each server's provider, rather than let both be `other`."""
    unholdable: dict[str, dict[str, str]] = field(default_factory=dict)
    """By server: the keys of items it does not give back as boto3 put them, and why."""

    @property
    def name(self) -> str:
        """How reports name the direction."""
        return f"{self.source.name}→{self.destination.name}"

    def ends(self) -> tuple[End, End]:
        """Both ends, by way of the proxies."""
        both = ((self.source, self.source_proxy), (self.destination, self.destination_proxy))
        source, destination = (
            End(proxy.endpoint, server.access_key, server.secret_key, server.provider if self.providers else None)
            for server, proxy in both
        )
        return source, destination

    @contextmanager
    def trial(self):
        """Fresh buckets and proxies without rules; the buckets go afterwards."""
        number = next(_numbers)
        trial = Trial(self, f"trial-{number}-source", f"trial-{number}-destination")
        ends = ((self.source, trial.source_bucket), (self.destination, trial.destination_bucket))
        for server, bucket in ends:
            objects.ensure_bucket(server.client(), bucket)
        trial.rules()
        try:
            yield trial
        finally:
            trial.rules()
            for server, bucket in ends:
                objects.remove_bucket(server.client(), bucket)

    def holdable(self, items: list[Item]) -> list[Item]:
        """Those that both servers give back as they were put."""
        refused = self.unholdable[self.source.name] | self.unholdable[self.destination.name]
        return [item for item in items if item.key not in refused]
