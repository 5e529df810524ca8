"""The export API at its function URL, driven by an unmodified boto3, and a station elsewhere that writes the job it made."""

import contextlib
import json
import socket
import urllib.parse
from unittest import mock

import boto3
import botocore.exceptions
from botocore.config import Config

CALLER = {"access_key_id": "LAPTOPKEY", "secret_access_key": "laptop-looks-like-a-secret"}
FORMER = "laptop-looked-like-a-secret"
PARAMETER = "/ferry/credentials/laptop"
PASSWORD = "correct-horse-battery"
MANIFEST = f"""manifestVersion:2.0
generator:Text editor
deviceId:49382
fileSystem:EXT4
logBucket:destination
logPrefix:exported/
trueCryptPassword:{PASSWORD}
operations:
    - exportBucket:source
      prefix:films/
"""


def put(ssm, secret: str):
    """The key that requests are signed with, as a person would put it."""
    ssm.put_parameter(Name=PARAMETER, Type="SecureString", Overwrite=True, Value=json.dumps(CALLER | {"secret_access_key": secret}))


@contextlib.contextmanager
def resolving(host: str, endpoint: str):
    """What the name service does in the world: the function URL's host is found, and it is the emulator."""
    real, where = socket.getaddrinfo, urllib.parse.urlsplit(endpoint)

    def find(name, port, *rest, **more):
        return real(where.hostname, where.port, *rest, **more) if name == host else real(name, port, *rest, **more)

    with mock.patch("socket.getaddrinfo", find):
        yield


def client(host: str, secret: str = CALLER["secret_access_key"]):
    """boto3's own client of the service."""
    config = Config(proxies={}, retries={"max_attempts": 1, "mode": "standard"})
    return boto3.client(
        "importexport", endpoint_url=f"http://{host}/", config=config, region_name="us-east-1",
        aws_access_key_id=CALLER["access_key_id"], aws_secret_access_key=secret,
    )


def refusal(call, **arguments) -> str:
    """The code of the error that a call ends with."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return "none"


def rehearse(rehearsal):
    """The life of two jobs, and where the password stands meanwhile."""
    host = urllib.parse.urlsplit(rehearsal.outputs["ExportUrl"]).netloc
    with resolving(host, rehearsal.emulator.endpoint):
        rotate(rehearsal, client(host, FORMER), client(host))
        live(rehearsal, client(host), client(host, "guess"))


def rotate(rehearsal, former, current):
    """The key is another one from now on, and nothing is deployed for that."""
    rehearsal.check("boto3 asks the export API", former.list_jobs()["Jobs"] == [])
    put(rehearsal.ssm, CALLER["secret_access_key"])
    rehearsal.check("and with a rotated key again", refusal(current.list_jobs) == "none")
    rehearsal.check("the former key is none any more", refusal(former.list_jobs) == "SignatureDoesNotMatch")


def live(rehearsal, jobs, stranger):
    check, order = rehearsal.check, {"JobType": "Export", "Manifest": MANIFEST}
    code = refusal(stranger.list_jobs)
    check("the export API refuses another's signature", code == "SignatureDoesNotMatch", code)
    validated = jobs.create_job(**order, ValidateOnly=True)
    check("boto3 has a manifest validated, and no job comes of it", "JobId" not in validated and jobs.list_jobs()["Jobs"] == [], validated)
    code = refusal(jobs.create_job, **order | {"Manifest": MANIFEST.replace("source", "nowhere")}, ValidateOnly=False)
    check("a bucket that is not there is told", code == "NoSuchBucketException", code)

    created = jobs.create_job(**order, ValidateOnly=False)
    job = created["JobId"]
    status = jobs.get_status(JobId=job)
    check("boto3 creates a job and reads its status", status["ProgressCode"] == "Pending" and PASSWORD not in json.dumps(status, default=str), status)
    doomed = jobs.create_job(**order, ValidateOnly=False)["JobId"]
    kept = parameters(rehearsal, "/ferry/export/")
    passwords = [secret for name, secret in kept.items() if name.startswith("/ferry/export/jobs/")]
    check("the passwords stand in SSM, encrypted", passwords == [("SecureString", PASSWORD)] * 2, list(kept))
    check("and so does the key that signs", kept.get("/ferry/export/signing-key", ("",))[0] == "SecureString", list(kept))
    check("boto3 calls a job off", jobs.cancel_job(JobId=doomed)["Success"])
    listed = [(each["JobId"], each["IsCanceled"]) for each in jobs.list_jobs(MaxJobs=10)["Jobs"]]
    check("and lists both, newest first", listed == [(doomed, True), (job, False)], listed)
    left = [name for name in parameters(rehearsal, "/ferry/export/") if name.startswith("/ferry/export/jobs/")]
    check("the password of the one that was called off is gone", len(left) == 1, left)
    code = refusal(jobs.get_status, JobId="ZZZZZ")
    check("a job that is none is told", code == "InvalidJobIdException", code)

    device = rehearsal.work / "device"
    device.mkdir()
    (device / "SIGNATURE").write_text(created["SignatureFileContents"])
    state = f"s3://{rehearsal.outputs['StateBucketName']}/state/"
    said = rehearsal.ferry("export", "run", job, "--target", f"dir:{device}", "--jobs", state, "--secrets", "ssm:/ferry/export",
                           "--state-dir", str(rehearsal.work / "station"))
    status = jobs.get_status(JobId=job)
    check("a station writes the job, and boto3 sees it complete", status["ProgressCode"] == "Complete" and PASSWORD not in said, status)
    check("its log is in the bucket that the manifest names", f"exported/export-log-{job}" in rehearsal.contents("destination"), status)


def parameters(rehearsal, path: str) -> dict[str, tuple[str, str]]:
    """Kind and value of what stands under a path."""
    pages = rehearsal.ssm.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True, WithDecryption=True)
    return {each["Name"]: (each["Type"], each["Value"]) for page in pages for each in page["Parameters"]}


def secrets_shown(rehearsal, lines: list[str]) -> list[str]:
    """Where a password or the caller's secret shows and should not: log lines, records, or the emulator's own log."""
    secrets = (PASSWORD, FORMER, CALLER["secret_access_key"])
    bucket = rehearsal.outputs["StateBucketName"]
    texts = {f"line {number}": line for number, line in enumerate(lines)}
    for key in rehearsal.contents(bucket):
        texts[key] = rehearsal.s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(errors="replace")
    texts["the emulator's log"] = rehearsal.emulator.log.read_text(errors="replace")
    return [place for place, text in texts.items() if any(secret in text for secret in secrets)]
