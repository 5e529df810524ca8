"""Objects that have broken other tools, and an independent reading of what a bucket holds.

Keys mirror those of the Rust fixtures, written down anew so that one list cannot hide a mistake in the other.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from botocore.exceptions import BotoCoreError, ClientError

MIB = 1 << 20
KEY_BYTES_MAX = 1024

AWKWARD_KEYS = [
    "a b", " leading and trailing ", "a+b", "a%20b", "a%2Fb", "100%", "%", "%zz", "a&b=c?d#e", "a;b:c@d,e$f",
    "!*'()", "{}|^`[]~", "<tag>&amp;</tag>", "]]>", "quote\"s and 'apostrophes'", "back\\slash",
    "tab\tkey", "line\nbreak", "carriage\rreturn", "control\x01\x08\x1b\x1f", "delete\x7f", "next\x85line",
    "/", "//", "/leading", "a//b", "a/./b", "a/../b", ".", "..", "./a", "../a", "a/.", "a/..",
    "dir", "dir/", "dir/file", "data-with-slash/", "folder_$folder$",
    "漢字/かな/한글.txt", "😀/👩‍👩‍👧.png", "\u202egnp.exe", "caf\u00e9", "cafe\u0301", "\ufffd\uffff",
    "\ue000private", "\U0010ffff", "README", "readme",
    "long/" + "x" * (KEY_BYTES_MAX - 5), "字" * 341 + "x",
]  # fmt: skip

SYSTEM_HEADERS = (
    "content-type", "content-encoding", "content-language", "content-disposition", "cache-control", "expires",
    "x-amz-website-redirect-location", "x-amz-storage-class",
)  # fmt: skip


@dataclass
class Item:
    """One object to put."""

    key: str
    body: bytes
    extra: dict = field(default_factory=dict)
    """Arguments of boto3's put_object."""
    raw_headers: dict[str, str] = field(default_factory=dict)
    """Headers that boto3 refuses to send."""
    part_mib: int | None = None
    """Put in parts of this size."""


@dataclass(frozen=True)
class Held:
    """What a server says it holds under one key."""

    size: int
    sha256: str
    etag: str
    headers: tuple[tuple[str, str], ...]
    tags: tuple[tuple[str, str], ...]

    def differences(self, other: "Held", with_etag: bool) -> list[str]:
        """What differs, in words."""
        found = []
        if (self.size, self.sha256) != (other.size, other.sha256):
            found.append(f"bytes: {self.size} {self.sha256[:12]} and {other.size} {other.sha256[:12]}")
        if self.headers != other.headers:
            found.append(f"headers: {sorted(set(self.headers) ^ set(other.headers))}")
        if self.tags != other.tags:
            found.append(f"tags: {self.tags} and {other.tags}")
        if with_etag and self.etag != other.etag:
            found.append(f"ETag: {self.etag} and {other.etag}")
        return found


def body_of(key: str) -> bytes:
    """Bytes that differ from key to key; a key that ends in `/` is a marker without data, save one."""
    return b"" if key.endswith("/") and key != "data-with-slash/" else f"the bytes of {key!r}".encode()


def pattern(seed: str, size: int) -> bytes:
    """Bytes without a period that a part boundary could fall on."""
    return hashlib.shake_256(seed.encode()).digest(size)


def awkward() -> list[Item]:
    """Every awkward key, each with its own bytes."""
    return [Item(key, body_of(key)) for key in AWKWARD_KEYS]


def attributed() -> list[Item]:
    """Objects with every attribute that travels."""
    everything = {
        "ContentType": "text/plain; charset=utf-8",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de-CH, fr",
        "ContentDisposition": "attachment; filename=\"a b.txt\"; filename*=UTF-8''na%C3%AFve.txt",
        "CacheControl": "max-age=60, must-revalidate",
        "Expires": "Thu, 01 Dec 2039 16:00:00 GMT",
        "WebsiteRedirectLocation": "/elsewhere",
        "Metadata": {
            "author": "Jane Doe",
            "with-dash.and.dot": "v",
            "mtime": "1700000000.123456789",
            "spaces": "in  the middle",
            "encoded-word": "=?UTF-8?B?xYF1a2Fzeg==?=",
            "percent": "100%25+1",
            "long": "x" * 1500,
        },
    }
    return [
        Item("attributes/all", b"everything", {**everything, "Tagging": "a=1&b%20c=x%2By%3D&empty="}),
        Item("attributes/untagged", b"everything but tags", everything),
        Item("attributes/empty-body", b"", everything),
        Item("attributes/none", b"nothing"),
        Item("attributes/class", b"infrequent", {"StorageClass": "STANDARD_IA"}),
        Item("attributes/octets", b"binary", {"ContentType": "application/octet-stream"}),
        Item("attributes/form", b"form", {"ContentType": "application/x-www-form-urlencoded"}),
        Item("attributes/charset", b"charset", {"ContentType": "text/html"}),
        Item("attributes/tags-10", b"ten", {"Tagging": "&".join(f"k{i}=v{i}" for i in range(10))}),
        Item("attributes/tags-unicode", b"uni", {"Tagging": "%E8%89%B2=%E7%B4%85"}),
        Item("attributes/bare-expires", b"expires", {}, {"expires": "0"}),
        Item("attributes/utf-8-value", b"utf-8", {}, {"x-amz-meta-name": "Łukasz 🗻"}),
        Item("attributes/empty-value", b"empty value", {"Metadata": {"empty": ""}}),
        Item("attributes/underscore-name", b"underscore", {"Metadata": {"under_score": "v"}}),
    ]


def large() -> list[Item]:
    """Objects made of parts as other tools make them, and some at the edges."""
    items = [
        Item(f"parts/{size}-by-{part}", pattern(f"{size}/{part}", size * MIB + 17), part_mib=part)
        for size, part in ((11, 5), (17, 8), (33, 16), (40, 5))
    ]
    # Two parts of 5 MiB look like two of 8: whatever boundaries the copy gets, its bytes are the same.
    items.append(Item("parts/ambiguous", pattern("ambiguous", 9 * MIB), part_mib=5))
    items.append(Item("parts/exactly-two", pattern("two", 16 * MIB), part_mib=8))
    items.append(Item("parts/only-one", pattern("one", 1 * MIB), part_mib=5))
    items.append(Item("parts/attributed", pattern("attr", 12 * MIB), _multipart_attributes(), part_mib=5))
    items.append(Item("single/6-mib", pattern("six", 6 * MIB)))
    items.append(Item("single/at-threshold", pattern("at", 32 * MIB)))
    items.append(Item("single/below-threshold", pattern("below", 32 * MIB - 1)))
    items.append(Item("single/120-mib", pattern("big", 120 * MIB)))
    return items


def _multipart_attributes() -> dict:
    return {"ContentType": "video/mp4", "Metadata": {"a": "b"}, "CacheControl": "no-store", "Tagging": "x=y"}


def bulk(count: int, prefix: str = "bulk/") -> list[Item]:
    """Many small untagged objects, more than a page of a listing holds."""
    return [Item(f"{prefix}{number:05}", f"object {number}".encode() * 20) for number in range(count)]


def put(client, bucket: str, item: Item):
    """Puts one object in one piece or in parts."""
    if item.part_mib is None:
        if item.raw_headers:
            _with_raw_headers(client, bucket, item)
        else:
            client.put_object(Bucket=bucket, Key=item.key, Body=item.body, **item.extra)
        return
    # Tags given here are lost by several servers, so they are put afterwards.
    arguments = {name: value for name, value in item.extra.items() if name != "Tagging"}
    upload = client.create_multipart_upload(Bucket=bucket, Key=item.key, **arguments)["UploadId"]
    size, parts = item.part_mib * MIB, []
    for number, start in enumerate(range(0, len(item.body), size), 1):
        part = item.body[start : start + size]
        answer = client.upload_part(
            Bucket=bucket, Key=item.key, UploadId=upload, PartNumber=number, Body=part
        )
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(
        Bucket=bucket, Key=item.key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    if "Tagging" in item.extra:
        tags = [{"Key": name, "Value": value} for name, value in parse_qsl(item.extra["Tagging"])]
        client.put_object_tagging(Bucket=bucket, Key=item.key, Tagging={"TagSet": tags})


def _with_raw_headers(client, bucket: str, item: Item):
    """Adds headers after signing, which need not cover them."""

    def add(request, **_):
        for name, value in item.raw_headers.items():
            request.headers[name] = value.encode()

    event = "before-send.s3.PutObject"
    client.meta.events.register(event, add)
    try:
        client.put_object(Bucket=bucket, Key=item.key, Body=item.body, **item.extra)
    finally:
        client.meta.events.unregister(event, add)


def fill(client, bucket: str, items: list[Item]):
    """Creates the bucket where it is missing and puts every item."""
    ensure_bucket(client, bucket)
    plain = [item for item in items if not item.raw_headers]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: put(client, bucket, item), plain))
    for item in items:
        if item.raw_headers:
            put(client, bucket, item)


def ensure_bucket(client, bucket: str):
    """Creates the bucket, whether or not it exists."""
    try:
        client.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise


def keys(client, bucket: str, prefix: str = "") -> list[str]:
    """Every key, as listed."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def listing(client, bucket: str) -> dict[str, tuple[int, str]]:
    """Size and ETag of every key, as listed."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    entries = (entry for page in pages for entry in page.get("Contents", []))
    return {entry["Key"]: (entry["Size"], entry["ETag"]) for entry in entries}


def read(client, bucket: str, key: str) -> Held:
    """One object as the server gives it out."""
    answer = client.get_object(Bucket=bucket, Key=key)
    body = answer["Body"].read()
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    kept = {
        name: value
        for name, value in headers.items()
        if name in SYSTEM_HEADERS or name.startswith("x-amz-meta-")
    }
    if kept.get("x-amz-storage-class") == "STANDARD":
        del kept["x-amz-storage-class"]
    tags = client.get_object_tagging(Bucket=bucket, Key=key).get("TagSet", [])
    return Held(
        len(body),
        hashlib.sha256(body).hexdigest(),
        answer["ETag"],
        tuple(sorted(kept.items())),
        tuple(sorted((tag["Key"], tag["Value"]) for tag in tags)),
    )


def read_all(client, bucket: str, prefix: str = "") -> dict[str, Held]:
    """Everything under a prefix, by its key without the prefix."""
    names = keys(client, bucket, prefix)
    with ThreadPoolExecutor(8) as pool:
        held = pool.map(lambda key: read(client, bucket, key), names)
        return {key.removeprefix(prefix): value for key, value in zip(names, held, strict=True)}


def remove_bucket(client, bucket: str):
    """Deletes a bucket with everything in it. Odd keys go one by one: some cannot be named in XML."""
    names = keys(client, bucket)
    plain = [name for name in names if name.startswith("bulk/")]
    for start in range(0, len(plain), 1000):
        batch = {"Objects": [{"Key": name} for name in plain[start : start + 1000]], "Quiet": True}
        client.delete_objects(Bucket=bucket, Delete=batch)
    for name in set(names) - set(plain):
        client.delete_object(Bucket=bucket, Key=name)
    try:
        client.delete_bucket(Bucket=bucket)
    except ClientError as error:
        # Older versions: they go with the server.
        if error.response["Error"]["Code"] != "BucketNotEmpty":
            raise


def unholdable(client, bucket: str, items: list[Item]) -> dict[str, str]:
    """The keys of items that do not come back from this server as boto3 put them there, and why."""
    ensure_bucket(client, bucket)
    bad = {}
    for item in items:
        try:
            put(client, bucket, item)
            reason = _unfaithful(item, read(client, bucket, item.key))
        except (ClientError, BotoCoreError) as error:
            reason = f"{type(error).__name__}: {error}"[:120]
        if reason:
            bad[item.key] = reason
    listed = set(keys(client, bucket))
    for item in items:
        if item.key not in listed:
            bad.setdefault(item.key, "not listed under its key")
    remove_bucket(client, bucket)
    return bad


def _unfaithful(item: Item, held: Held) -> str | None:
    """How what came back differs from what was put."""
    if held.sha256 != hashlib.sha256(item.body).hexdigest():
        return "other bytes"
    wanted = {
        "ContentType": "content-type",
        "ContentEncoding": "content-encoding",
        "ContentLanguage": "content-language",
        "ContentDisposition": "content-disposition",
        "CacheControl": "cache-control",
        "Expires": "expires",
        "WebsiteRedirectLocation": "x-amz-website-redirect-location",
        "StorageClass": "x-amz-storage-class",
    }
    headers = dict(held.headers)
    for argument, name in wanted.items():
        if argument in item.extra and headers.get(name) != item.extra[argument]:
            return f"{name}: {headers.get(name)!r}"
    for name, value in item.extra.get("Metadata", {}).items():
        if headers.get(f"x-amz-meta-{name}") != value:
            return f"x-amz-meta-{name}: {headers.get(f'x-amz-meta-{name}')!r}"
    for name, value in item.raw_headers.items():
        if headers.get(name) not in (value, value.encode().decode("latin-1")):
            return f"{name}: {headers.get(name)!r}"
    if "Tagging" in item.extra and len(held.tags) != item.extra["Tagging"].count("&") + 1:
        return f"tags: {held.tags}"
    return None
