"""What a user reads, and scripts see, when something is set up wrongly."""

from .ferry import End, Outcome
from .objects import bulk
from .pair import Pair, Trial, check
from .proxy import Response, Rule, refusal
from .servers import free_port

USAGE = 2


def both_sides(pair: Pair, trial: Trial, change, *words: str):
    """Breaks one side and then the other; each command is refused with these words in its message."""
    good = trial.ends()
    for verb in ("sync", "verify", "plan"):
        for broken in ((change(*good[0]), good[1]), (good[0], change(*good[1]))):
            outcome = pair.ferry.run(verb, *broken)
            assert_refused(outcome, *words)
            for end, _ in broken:
                assert end.secret_key not in outcome.stdout + outcome.stderr, f"a secret is shown: {outcome}"


def assert_refused(outcome: Outcome, *words: str):
    """Exit code 2 and a message that says what to do."""
    assert outcome.code == USAGE, f"exit {outcome.code} instead of {USAGE}: {outcome}"
    for word in words:
        assert word in outcome.stderr, f"the message does not say {word!r}: {outcome}"


@check("a bucket that is not there is named")
def no_bucket(pair: Pair):
    with pair.trial() as trial:
        trial.fill(bulk(3))

        def change(end: End, _bucket: str):
            return end, "no-such-bucket"

        both_sides(pair, trial, change, "no-such-bucket", "check its name")


@check("an endpoint that nobody serves is named")
def wrong_endpoint(pair: Pair):
    with pair.trial() as trial:
        trial.fill(bulk(3))
        nobody = f"http://127.0.0.1:{free_port()}"

        def change(end: End, bucket: str):
            return End(nobody, end.access_key, end.secret_key, end.provider), bucket

        both_sides(pair, trial, change, f"cannot reach {nobody}")


@check("an endpoint that is no object store is refused")
def not_a_store(pair: Pair):
    with pair.trial() as trial:
        trial.fill(bulk(3))
        page = Response(200, [("Content-Type", "text/html")], b"<html><body>It works!</body></html>")
        for answer in (page, Response(404, page.headers, page.body), Response(200)):
            for side in ("source", "destination"):
                trial.rules(
                    **{side: (Rule(lambda _request: True, before=lambda _request, answer=answer: answer),)}
                )
                outcome = trial.run()
                assert_refused(outcome)


@check("an access key that the store does not know is refused with what to check")
def unknown_key(pair: Pair):
    _credentials(pair, "InvalidAccessKeyId", "access key", access_key="AKUNKNOWN")


@check("a secret key that does not fit is refused with what to check")
def wrong_secret(pair: Pair):
    _credentials(pair, "SignatureDoesNotMatch", "secret access key", secret_key="not-the-secret-key")


def _credentials(pair: Pair, code: str, word: str, **wrong: str):
    """With the server's own answer where it checks signatures, else with the one it would give."""
    with pair.trial() as trial:
        trial.fill(bulk(3))
        for side, server in (("source", pair.source), ("destination", pair.destination)):
            rule = Rule(lambda _request: True, before=lambda _request: refusal(403, code))
            trial.rules(**{side: () if server.checks_credentials else (rule,)})
            source, destination = trial.ends()
            end, _bucket = source if side == "source" else destination
            for name, value in wrong.items():
                setattr(end, name, value)
            outcome = pair.ferry.run("sync", source, destination)
            assert_refused(outcome, word)
            assert end.secret_key not in outcome.stdout + outcome.stderr, f"a secret is shown: {outcome}"
        assert not trial.held(), "something was copied"


@check("a right that is missing fails what needs it, and deletes nothing")
def forbidden(pair: Pair):
    with pair.trial() as trial:
        trial.fill(bulk(5))
        trial.fill_destination(bulk(8))
        denied = refusal(403, "AccessDenied")
        # The source hides from HEAD what it lists: no proof of absence, so nothing may be deleted.
        trial.rules(source=(Rule(lambda request: request.kind == "HEAD", before=lambda _request: denied),))
        outcome = trial.run("sync", "--delete", "--max-delete", "100%")
        assert outcome.code == 1 and len(trial.held()) == 8, str(outcome)


@check("a destination inside its source is refused")
def overlap(pair: Pair):
    with pair.trial() as trial:
        trial.fill(bulk(3))
        source, _destination = trial.ends()
        assert_refused(pair.ferry.run("sync", source, source), "overlap")
