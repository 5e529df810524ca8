"""The stack in an emulator: schedule, finder, queues, workers, destination, dead letters.

    python -m rehearsal ROOT CACHE WORK

Driven from outside only: objects are put into the source, messages onto the queue, and what comes out is looked at.
"""

import hmac
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from rehearsal import exporting, stack
from trials.servers import end, free_port, spawn, wait_for

SECRET = "looks-like-a-secret-and-is-none"
ROTATED = "looks-like-another-and-is-none"
LIMIT_SECS = 150


class Emulator:
    """ministack with functions run as processes, and clients for it."""

    def __init__(self, cache: Path, work: Path):
        port, self.log = free_port(), work / "ministack.log"
        self.endpoint = f"http://127.0.0.1:{port}"
        env = {
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "LAMBDA_EXECUTOR": "local",
            "AWS_ENDPOINT_URL": self.endpoint,
            "LOG_LEVEL": "WARNING",
        }
        self.process = spawn([str(cache / "aws-ministack/bin/ministack")], self.log, env)
        try:
            wait_for(f"{self.endpoint}/_ministack/health", self.process, self.log)
        except BaseException:
            end(self.process)
            raise

    def client(self, service: str):
        config = Config(s3={"addressing_style": "path"}, proxies={}, retries={"max_attempts": 2, "mode": "standard"})
        return boto3.client(service, endpoint_url=self.endpoint, config=config)


class Rehearsal:
    """One deployment and what is checked of it."""

    def __init__(self, root: Path, work: Path, emulator: Emulator):
        self.root, self.work, self.emulator = root, work, emulator
        self.failed = 0
        self.s3, self.sqs = emulator.client("s3"), emulator.client("sqs")
        self.ssm, self.logs = emulator.client("ssm"), emulator.client("logs")
        self.outputs = {}

    def check(self, name: str, holds: bool, said: object = ""):
        print(f"ok    {name}" if holds else f"FAIL  {name}: {said}", flush=True)
        self.failed += not holds

    def prepare(self):
        """Two buckets, a task, its stores and their credentials, as a person would put them."""
        for bucket in ("source", "destination"):
            self.s3.create_bucket(Bucket=bucket)
        store = json.dumps({"endpoint": self.emulator.endpoint, "credentials": "ssm:/ferry/credentials/lab"})
        self.put_keys(SECRET)
        self.ssm.put_parameter(Name="/ferry/stores/lab", Type="String", Value=store)
        exporting.put(self.ssm, exporting.FORMER)
        # The schedule of the template fires before anybody could put a task with a stack that is there.
        for name, prefix in (("photos", ""), ("films", "films/")):
            task = {
                "name": name,
                "source": {"store": "lab", "bucket": "source", "prefix": prefix},
                "destination": {"store": "s3", "bucket": "destination", "prefix": prefix},
            }
            self.ssm.put_parameter(Name=f"/ferry/tasks/{name}", Type="String", Value=json.dumps(task))

    def put_keys(self, secret: str):
        """What the store's requests and the events' senders are signed with."""
        keys = json.dumps({"access_key_id": "test", "secret_access_key": secret})
        self.ssm.put_parameter(Name="/ferry/credentials/lab", Type="SecureString", Overwrite=True, Value=keys)

    def ferry(self, *arguments: str, code: int = 0) -> str:
        """Runs the command line against the emulator; what it printed."""
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.work), "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testtesttest", "AWS_ENDPOINT_URL": self.emulator.endpoint,
        }
        done = subprocess.run(
            [str(self.root / "target/debug/ferry"), *arguments], env=env, cwd=self.work, capture_output=True, text=True, timeout=60, check=False
        )
        self.check(f"ferry {' '.join(arguments[:2])}", done.returncode == code, f"{done.returncode}: {done.stdout} {done.stderr}")
        return done.stdout

    def tell(self, body: bytes, headers: dict[str, str]) -> int:
        """Posts to the function's address, which the emulator knows by its host's name; the status."""
        host = urllib.parse.urlsplit(self.outputs["EventsUrl"]).netloc
        request = urllib.request.Request(self.emulator.endpoint + "/", data=body, headers={"Host": host, "Content-Type": "application/json", **headers})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return opener.open(request, timeout=30).status
        except urllib.error.HTTPError as error:
            return error.code

    def contents(self, bucket: str) -> dict[str, str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", [])}

    def agree(self, limit_secs: float = LIMIT_SECS) -> bool:
        """Waits until the destination holds what the source holds."""
        deadline = time.monotonic() + limit_secs
        while time.monotonic() < deadline:
            if self.contents("source") == self.contents("destination"):
                return True
            time.sleep(0.5)
        return False

    def difference(self) -> str:
        source, destination = self.contents("source"), self.contents("destination")
        missing = [key for key in source if source[key] != destination.get(key)]
        return f"{len(missing)} of {len(source)} differ, such as {missing[:3]}"

    def dead_letters(self, count: int, limit_secs: float = 60) -> list[dict]:
        """The first so many dead letters, with their reasons."""
        letters, deadline = [], time.monotonic() + limit_secs
        while len(letters) < count and time.monotonic() < deadline:
            got = self.sqs.receive_message(
                QueueUrl=self.outputs["DeadLetterQueueUrl"], MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
            )
            letters += got.get("Messages", [])
        return letters

    def log_lines(self) -> list[str]:
        lines = []
        for group in self.logs.describe_log_groups()["logGroups"]:
            for stream in self.logs.describe_log_streams(logGroupName=group["logGroupName"])["logStreams"]:
                events = self.logs.get_log_events(
                    logGroupName=group["logGroupName"], logStreamName=stream["logStreamName"], startFromHead=True
                )
                lines += [event["message"] for event in events["events"]]
        return lines


def signed(body: bytes, secret: str) -> dict[str, str]:
    """The header of a sender."""
    moment = str(int(time.time()))
    digest = hmac.new(secret.encode(), moment.encode() + b"." + body, "sha256").hexdigest()
    return {"x-ferry-signature": f"t={moment},v1={digest}"}


def rehearse(root: Path, cache: Path, work: Path, emulator: Emulator) -> int:
    rehearsal = Rehearsal(root, work, emulator)
    template = stack.stage(root, work)
    print(f"left out, since ministack refuses them: {', '.join(stack.LEFT_OUT)}")
    rehearsal.prepare()
    for number in range(120):
        rehearsal.s3.put_object(Bucket="source", Key=f"photos/{number:03}.jpg", Body=b"x" * number)
    for key in ("a//b", "dir/", "naïve é", "plus+and space", "films/one"):
        rehearsal.s3.put_object(Bucket="source", Key=key, Body=key.encode(), Metadata={"note": "kept"}, ContentType="text/x-odd")
    rehearsal.s3.put_object(Bucket="source", Key="large", Body=os.urandom(6 * 2**20))

    began = time.monotonic()
    parameters = {
        "DefaultTask": "photos",
        "EventSenderParameter": "/ferry/credentials/lab",
        "ExportCallerParameters": exporting.PARAMETER,
        "ScheduleExpression": "'rate(1 minute)'",
        "LargeObjectBytes": str(5 * 2**20),
        "AlarmEmail": "nobody@example.org",
        "SourceBucketArns": "arn:aws:s3:::source",
        "DestinationBucketArns": "arn:aws:s3:::destination",
    }
    stack.deploy(template, cache, emulator.endpoint, parameters)
    print(f"ok    sam deploy, {time.monotonic() - began:.0f} s")
    (described,) = emulator.client("cloudformation").describe_stacks(StackName="ferry")["Stacks"]
    rehearsal.outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
    rehearsal.check("the stack is complete", described["StackStatus"] == "CREATE_COMPLETE", described["StackStatus"])

    began = time.monotonic()
    rehearsal.check("the schedule fires, and all objects arrive", rehearsal.agree(), rehearsal.difference())
    print(f"      {len(rehearsal.contents('source'))} objects, {time.monotonic() - began:.0f} s from the deployment on")
    head = rehearsal.s3.head_object(Bucket="destination", Key="films/one")
    rehearsal.check("attributes travel", head["Metadata"] == {"note": "kept"} and head["ContentType"] == "text/x-odd", head)

    # A message as others have always sent it, which means the default task; and a task by name.
    send = rehearsal.sqs.send_message
    rehearsal.s3.put_object(Bucket="source", Key="films/two", Body=b"2")
    send(QueueUrl=rehearsal.outputs["JobQueueUrl"], MessageBody=json.dumps({"key": "films/two", "size": 1, "task": "films"}))
    rehearsal.s3.put_object(Bucket="source", Key="late", Body=b"3")
    send(QueueUrl=rehearsal.outputs["JobQueueUrl"], MessageBody=json.dumps({"key": "late", "size": 1}))
    rehearsal.check("messages of a named task and of none are done", rehearsal.agree(30), rehearsal.difference())

    # A store elsewhere tells of a new object, signed; who does not sign is sent away.
    rehearsal.s3.put_object(Bucket="source", Key="told", Body=b"4")
    event = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-01-01T00:00:00Z",
                          "s3": {"bucket": {"name": "source"}, "object": {"key": "told", "size": 1}}}]}
    body = json.dumps(event).encode()
    rehearsal.check("an event that nobody signed is refused", rehearsal.tell(body, {}) in (401, 403))
    status = rehearsal.tell(body, signed(body, SECRET))
    rehearsal.check("a signed event is taken", status in (200, 202, 204), status)
    rehearsal.check("and its object moves: URL, queue, worker", rehearsal.agree(30), rehearsal.difference())
    rehearsal.put_keys(ROTATED)
    status = rehearsal.tell(body, signed(body, ROTATED))
    rehearsal.check("one that is signed with a rotated secret is taken", status in (200, 202, 204), status)
    rehearsal.check("and with the former one no more", rehearsal.tell(body, signed(body, SECRET)) == 401)

    # The same from the command line: another task with a schedule of its own, run now and followed.
    task = rehearsal.work / "odd.yaml"
    task.write_text(
        "name: odd\nsource: {store: lab, bucket: source, prefix: odd/}\n"
        "destination: {store: s3, bucket: destination, prefix: odd/}\nschedule: rate(1 hour)\n"
    )
    rehearsal.s3.put_object(Bucket="source", Key="odd/one", Body=b"odd")
    rehearsal.ferry("task", "put", str(task))
    listed = [json.loads(line) for line in rehearsal.ferry("task", "list", "--json").splitlines()]
    rehearsal.check("its schedule is listed", {"odd": "rate(1 hour)"}.items() <= {each["task"]: each["schedule"] for each in listed}.items(), listed)
    run = json.loads(rehearsal.ferry("task", "run", "odd", "--json"))["run"]
    rehearsal.check("a task that was put and run moves its objects", rehearsal.agree(60), rehearsal.difference())
    status = json.loads(rehearsal.ferry("run", "status", run, "--json"))
    rehearsal.check("and its run says so", status["scan"]["is_complete"] and status["task"] == "odd", status)
    rehearsal.ferry("task", "pause", "odd")
    rehearsal.ferry("task", "delete", "odd")

    poison = ["this is not JSON", json.dumps({"key": "films/two", "size": 1, "task": "nobody's"})]
    for body in poison:
        send(QueueUrl=rehearsal.outputs["JobQueueUrl"], MessageBody=body)
    grouped = []
    for _ in range(30):
        grouped = json.loads(rehearsal.ferry("queue", "stats", "--json"))["failures"]
        if len(grouped) == len(poison):
            break
        time.sleep(1)
    rehearsal.check("ferry queue stats groups the failures", len(grouped) == len(poison), grouped)
    letters = rehearsal.dead_letters(len(poison))
    bodies = sorted(letter["Body"] for letter in letters)
    rehearsal.check("the dead letters are exactly the poison", bodies == sorted(poison), bodies)
    reasons = [letter.get("MessageAttributes", {}).get("ferry-reason", {}).get("StringValue", "") for letter in letters]
    rehearsal.check("and each says why", len(reasons) == len(poison) and all(reasons), reasons)

    exporting.rehearse(rehearsal)

    lines = rehearsal.log_lines()
    metrics = [json.loads(line) for line in lines if line.lstrip().startswith("{") and '"_aws"' in line]
    copied = sum(line.get("ObjectsCopied", 0) for line in metrics)
    rehearsal.check("the workers' metrics are in the log", copied >= len(rehearsal.contents("source")), (copied, len(lines)))
    rehearsal.check("the export API's requests are in the log", any("CreateJob" in line for line in lines))
    rehearsal.check("no secret is in any log line", not any(secret in line for line in lines for secret in (SECRET, ROTATED)))
    shown = exporting.secrets_shown(rehearsal, lines)
    rehearsal.check("no password is in any log line or record", not shown, shown)
    state = rehearsal.contents(rehearsal.outputs["StateBucketName"])
    rehearsal.check("receipts are in the state bucket", any("receipts" in key for key in state), list(state)[:5])
    return rehearsal.failed


def main() -> int:
    root, cache, work = map(Path, sys.argv[1:4])
    emulator = Emulator(cache, work)
    try:
        failed = rehearse(root, cache, work, emulator)
    except BaseException:
        print(emulator.log.read_text(errors="replace")[-3000:], file=sys.stderr)
        raise
    finally:
        end(emulator.process)
    return failed


if __name__ == "__main__":
    sys.exit(main() > 0)
