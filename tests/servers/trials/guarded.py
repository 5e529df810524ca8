"""Checks of what surrounds the bytes: encryption, ACL, object lock and tags, as asked for and as they were."""

import base64
import hashlib

from botocore.exceptions import ClientError

from .objects import Item, bulk, pattern
from .pair import Pair, Skipped, Trial, check

MIB = 1 << 20
ITEMS = [*bulk(3), Item("parts", pattern("guarded", 11 * MIB), {"Tagging": "team=harbour&state=a%2Bb"}, part_mib=5)]


def _keys() -> list[str]:
    return [item.key for item in ITEMS]


@check("server-side encryption is asked for and told back")
def encrypted(pair: Pair):
    with pair.trial() as trial:
        client, bucket = pair.destination.client(), trial.destination_bucket
        client.put_object(Bucket=bucket, Key="probe", Body=b"x", ServerSideEncryption="AES256")
        if "ServerSideEncryption" not in client.head_object(Bucket=bucket, Key="probe"):
            raise Skipped(f"{pair.destination.name} does not tell how an object is encrypted")
        client.delete_object(Bucket=bucket, Key="probe")
        trial.fill(ITEMS)
        trial.expect_done("--encryption", "s3")
        for key in _keys():
            told = client.head_object(Bucket=bucket, Key=key)
            assert told.get("ServerSideEncryption") == "AES256", f"{key}: {told}"
        trial.assert_same()


@check("a canned ACL is written with every object")
def acl(pair: Pair):
    with pair.trial() as trial:
        client, bucket = pair.destination.client(), trial.destination_bucket
        try:
            client.put_object(Bucket=bucket, Key="probe", Body=b"x", ACL="public-read")
        except ClientError as error:
            raise Skipped(f"{pair.destination.name} takes no ACL: {error}") from error
        if not _is_public(client, bucket, "probe"):
            raise Skipped(f"{pair.destination.name} keeps no ACL of an object")
        client.delete_object(Bucket=bucket, Key="probe")
        trial.fill(ITEMS)
        trial.expect_done("--acl", "public-read")
        for key in _keys():
            assert _is_public(client, bucket, key), f"{key} is not public"


def _is_public(client, bucket: str, key: str) -> bool:
    grants = client.get_object_acl(Bucket=bucket, Key=key)["Grants"]
    return any(grant["Grantee"].get("URI", "").endswith("/AllUsers") for grant in grants)


@check("tags come along, and their loss is seen")
def tags(pair: Pair):
    with pair.trial() as trial:
        trial.fill(ITEMS)
        trial.expect_done()
        client, bucket = pair.destination.client(), trial.destination_bucket
        found = client.get_object_tagging(Bucket=bucket, Key="parts")["TagSet"]
        wanted = [{"Key": "state", "Value": "a+b"}, {"Key": "team", "Value": "harbour"}]
        assert sorted(found, key=lambda tag: tag["Key"]) == wanted, str(found)
        client.delete_object_tagging(Bucket=bucket, Key="parts")
        outcome = trial.run("verify", "--read", "all")
        assert outcome.code == 3 and "parts" in outcome.stdout, str(outcome)


@check("locked objects are copied into a locked bucket, with their retention and their hold")
def locked(pair: Pair):
    with pair.trial() as trial, _locked_buckets(trial) as (source, destination):
        until = "2039-01-02T03:04:05Z"
        theirs, ours = pair.source.client(), pair.destination.client()
        try:
            theirs.put_object(
                Bucket=source, Key="kept", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until, **_checked(b"kept")
            )
            theirs.put_object(Bucket=source, Key="held", ObjectLockLegalHoldStatus="ON", **_checked(b"held"))
        except ClientError as error:
            raise Skipped(f"{pair.source.name} locks no object: {error}") from error
        if "ObjectLockMode" not in theirs.head_object(Bucket=source, Key="kept"):
            raise Skipped(f"{pair.source.name} does not tell of a lock")
        (one, _), (other, _) = trial.ends()
        outcome = pair.ferry.run("sync", (one, source), (other, destination), "--object-lock", "copy")
        assert outcome.code == 0, str(outcome)
        kept = ours.head_object(Bucket=destination, Key="kept")
        held = ours.head_object(Bucket=destination, Key="held")
        assert kept.get("ObjectLockMode") == "GOVERNANCE", str(kept)
        assert kept["ObjectLockRetainUntilDate"].strftime("%Y-%m-%dT%H:%M:%SZ") == until, str(kept)
        assert held.get("ObjectLockLegalHoldStatus") == "ON", str(held)


def _checked(body: bytes) -> dict:
    """A locked object must come with a digest."""
    return {"Body": body, "ContentMD5": base64.b64encode(hashlib.md5(body).digest()).decode()}


class _locked_buckets:
    """Two buckets that lock, emptied and removed afterwards."""

    def __init__(self, trial: Trial):
        pair = trial.pair
        self.places = [
            (pair.source.client(), f"{trial.source_bucket}-locked"),
            (pair.destination.client(), f"{trial.destination_bucket}-locked"),
        ]
        self.names = [server.name for server in (pair.source, pair.destination)]

    def __enter__(self) -> list[str]:
        for (client, bucket), name in zip(self.places, self.names, strict=True):
            try:
                client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
                client.get_object_lock_configuration(Bucket=bucket)
            except ClientError as error:
                raise Skipped(f"{name} has no buckets that lock: {error}") from error
        return [bucket for _, bucket in self.places]

    def __exit__(self, *_):
        for client, bucket in self.places:
            for version in client.list_object_versions(Bucket=bucket).get("Versions", []):
                where = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
                try:
                    client.put_object_legal_hold(**where, LegalHold={"Status": "OFF"})
                    client.delete_object(**where, BypassGovernanceRetention=True)
                except ClientError:
                    # What a server does not let go of ends with the server.
                    return
            client.delete_bucket(Bucket=bucket)
