"""What the trials share, and what each of them has to itself: queues, buckets, a task, and functions."""

import json
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config

from poller.function import Function
from poller.mapping import Mapping
from trials import objects
from trials.proxy import Proxy
from trials.servers import Server, free_port, spawn, wait_for

REGION = "us-east-1"
ACCOUNT = "123456789012"
# Each is given to every function in another way, and none may ever be seen in what one says.
SECRETS = {
    "the role's secret key": "role-secret-7d1f0c2b9a",
    "the role's session token": "role-session-token-5be08a41",
    "a store's secret key": "store-secret-c93e6d7712",
    "a store's session token": "store-session-token-e20b9f66",
    "the senders' secret": "senders-secret-18f4aa03d5",
}
# The queues of a stack but its dead letters, in the order that work goes through them.
WORK = ("scans", "jobs", "large")
# How long anything may take before a trial has failed: several times what it takes on a busy machine.
LIMIT_SECS = 150


def until(what: str, holds: Callable[[], bool]):
    """Waits until that is so."""
    deadline = time.monotonic() + LIMIT_SECS
    while not holds():
        assert time.monotonic() < deadline, f"waited {LIMIT_SECS} s in vain until {what}"
        time.sleep(0.2)


def moto(cache: Path, work: Path) -> Server:
    """moto, with S3, SQS and SSM behind one address."""
    port, log = free_port(), work / "moto.log"
    program = Path(__file__).with_name("moto_server.py")
    process = spawn([str(cache / "moto/bin/python"), str(program), "-H", "127.0.0.1", "-p", str(port)], log)
    server = Server("moto", f"http://127.0.0.1:{port}", processes=[process])
    try:
        wait_for(f"{server.endpoint}/moto-api/", process, log)
    except BaseException:
        server.stop()
        raise
    return server


TRIALS: list[tuple[str, Callable[["World"], None]]] = []


def trial(name: str):
    """Registers a function of the world as a named trial."""

    def register(function: Callable[["World"], None]):
        TRIALS.append((name, function))
        return function

    return register


@dataclass
class World:
    """The emulated services and the programs."""

    server: Server
    root: Path
    work: Path
    functions: list[Function] = field(default_factory=list)

    def end(self):
        """Ends every process, so that whatever is under way comes to an end as well."""
        for function in self.functions:
            function.end()
        self.server.stop()

    def client(self, service: str):
        """A client of one of the services."""
        config = Config(retries={"max_attempts": 3, "mode": "standard"}, max_pool_connections=32, proxies={})
        keys = {"aws_access_key_id": self.server.access_key, "aws_secret_access_key": self.server.secret_key}
        return boto3.client(service, endpoint_url=self.server.endpoint, region_name=REGION, config=config, **keys)

    def assert_no_secret_shown(self):
        """None of the functions has said one, in however many lines."""
        logs = {log.name: log.read_text(errors="replace") for log in self.work.glob("*.function.log")}
        silent = [name for name, text in logs.items() if not text]
        assert logs and not silent, f"functions that have said nothing: {silent or 'all'}"
        shown = [f"{what} in {name}" for name, text in logs.items() for what, secret in SECRETS.items() if secret in text]
        assert not shown, shown


@dataclass
class Stack:
    """What a deployment would be for one trial. Use as a context manager."""

    world: World
    name: str
    visibility_secs: int = 1800
    max_receive_count: int = 5
    task: dict = field(default_factory=dict)
    """Fields of the task beside its two ends."""

    def __enter__(self):
        self._exit = ExitStack()
        self.s3, self.sqs, ssm = self.world.server.client(), self.world.client("sqs"), self.world.client("ssm")
        self.source, self.destination, self.state = (f"{self.name}-{end}" for end in ("source", "destination", "state"))
        for bucket in (self.source, self.destination, self.state):
            objects.ensure_bucket(self.s3, bucket)
        endpoint = self.world.server.endpoint
        self.source_proxy = self._exit.enter_context(Proxy(endpoint))
        self.destination_proxy = self._exit.enter_context(Proxy(endpoint))
        self.queues = {"dead": self._queue("dead", {})}
        redrive = {"deadLetterTargetArn": self.arn("dead"), "maxReceiveCount": self.max_receive_count}
        attributes = {"VisibilityTimeout": str(self.visibility_secs), "RedrivePolicy": json.dumps(redrive)}
        self.queues |= {lane: self._queue(lane, attributes) for lane in WORK}

        keys = {
            "access_key_id": "AKIASTORE",
            "secret_access_key": SECRETS["a store's secret key"],
            "session_token": SECRETS["a store's session token"],
        }
        ends = {"source": self.source_proxy.endpoint, "destination": self.destination_proxy.endpoint, "state": endpoint}
        stores = {name: {"endpoint": address, "credentials": f"ssm:/{self.name}/credentials/lab"} for name, address in ends.items()}
        self.put_parameter = lambda path, value, kind="String": ssm.put_parameter(
            Name=f"/{self.name}/{path}", Type=kind, Value=json.dumps(value), Overwrite=True
        )
        self.put_parameter("credentials/lab", keys, "SecureString")
        senders = {"access_key_id": "senders", "secret_access_key": SECRETS["the senders' secret"]}
        self.put_parameter("credentials/senders", senders, "SecureString")
        for name, store in stores.items():
            self.put_parameter(f"stores/{name}", store)
        self.put_task(self.name, self.source)
        return self

    def __exit__(self, *_):
        self._exit.close()

    def _queue(self, lane: str, attributes: dict[str, str]) -> str:
        return self.sqs.create_queue(QueueName=f"{self.name}-{lane}", Attributes=attributes)["QueueUrl"]

    def put_task(self, name: str, source: str):
        """Puts a task from that bucket to the trial's destination."""
        ends = {"source": {"store": "source", "bucket": source}, "destination": {"store": "destination", "bucket": self.destination}}
        self.put_parameter(f"tasks/{name}", {"name": name, **ends, **self.task})

    def arn(self, lane: str) -> str:
        """A queue's name as Lambda knows it."""
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}-{lane}"

    def function(self, name: str, timeout_secs: int, lane: str = "jobs", **variables: str) -> Function:
        """A function with the variables that the template gives it; `lane` is where its messages come from."""
        target = self.world.root / "target/debug"
        settings = {
            "FERRY_TASK": f"ssm:/{self.name}/tasks/",
            "FERRY_STORES": f"ssm:/{self.name}/stores/",
            "FERRY_DEFAULT_TASK": self.name,
            "FERRY_STATE": f"state://{self.state}/state/",
            "FERRY_JOB_QUEUE_URL": self.queues[lane],
            "FERRY_LARGE_QUEUE_URL": self.queues["large"],
            "FERRY_LARGE_OBJECT_BYTES": str(5 * objects.MIB),
            "FERRY_SCAN_QUEUE_URL": self.queues["scans"],
            "FERRY_DEAD_LETTER_QUEUE_URL": self.queues["dead"],
            "FERRY_MAX_RECEIVE_COUNT": str(self.max_receive_count),
            "FERRY_STACK": self.name,
            "AWS_ENDPOINT_URL": self.world.server.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "ASIAROLE",
            "AWS_SECRET_ACCESS_KEY": SECRETS["the role's secret key"],
            "AWS_SESSION_TOKEN": SECRETS["the role's session token"],
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "NO_PROXY": "127.0.0.1",
            **variables,
        }
        log = self.world.work / f"{self.name}-{name}-{lane}.function.log"
        function = Function(target / "examples/lambda_host", target / f"ferry-{name}", timeout_secs, settings, log)
        self._exit.enter_context(function)
        self.world.functions.append(function)
        return function

    def worker(self, timeout_secs: int = 300, lane: str = "jobs", **variables: str) -> Function:
        """A worker that takes its messages off that queue."""
        return self.function("worker", timeout_secs, lane, **variables)

    def mapping(self, function: Function, lane: str = "jobs", **settings) -> Mapping:
        """What hands a queue's messages to a function."""
        settings = {"batch_size": 50 if lane == "jobs" else 1, **settings}
        return Mapping(self.world.client("sqs"), self.queues[lane], self.arn(lane), function, **settings)

    def send(self, *bodies: object, lane: str = "jobs"):
        """Puts messages onto a queue: texts as they are, anything else as JSON."""
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            self.sqs.send_message(QueueUrl=self.queues[lane], MessageBody=text)

    def waiting(self, *lanes: str) -> int:
        """Messages that are not done: those that wait, are under way or are delayed."""
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        count = 0
        # In the order that work goes, so that nothing moves from a queue that is still to be counted to one that has been.
        for lane in lanes or WORK:
            attributes = self.sqs.get_queue_attributes(QueueUrl=self.queues[lane], AttributeNames=names)["Attributes"]
            count += sum(int(attributes[name]) for name in names)
        return count

    def take_all(self, lane: str) -> list[dict]:
        """Everything that can be received from a queue now, taken off it."""
        taken = []
        while True:
            got = self.sqs.receive_message(QueueUrl=self.queues[lane], MaxNumberOfMessages=10, MessageAttributeNames=["All"])
            if not got.get("Messages"):
                return taken
            for message in got["Messages"]:
                self.sqs.delete_message(QueueUrl=self.queues[lane], ReceiptHandle=message["ReceiptHandle"])
                taken.append(message)

    def dead_letters(self) -> dict[str, str]:
        """The dead letters, and the reason of each that has one."""
        letters = self.take_all("dead")
        reason = lambda letter: letter.get("MessageAttributes", {}).get("ferry-reason", {}).get("StringValue", "")  # noqa: E731
        return {letter["Body"]: reason(letter) for letter in letters}

    def until_done(self, *lanes: str):
        """Waits until none of these queues, or no queue of work, holds anything."""
        until(f"the queues of {self.name} are empty", lambda: self.waiting(*lanes) == 0)

    def assert_same(self, with_etag: bool = True):
        """Both buckets hold the same, byte by byte and header by header, read past the proxies."""
        wanted, found = (objects.read_all(self.s3, bucket) for bucket in (self.source, self.destination))
        problems = [f"{key!r} is missing" for key in wanted if key not in found]
        problems += [f"{key!r} is extra" for key in found if key not in wanted]
        for key in wanted.keys() & found.keys():
            problems += [f"{key!r}: {what}" for what in wanted[key].differences(found[key], with_etag)]
        assert not problems, f"{len(problems)} differences: " + "; ".join(sorted(problems)[:8])
        uploads = self.s3.list_multipart_uploads(Bucket=self.destination).get("Uploads", [])
        assert not uploads, f"uploads were left open: {uploads}"

    def assert_no_dead_letters(self):
        """Nothing was given up."""
        letters = self.dead_letters()
        assert not letters, f"{len(letters)} dead letters, such as {list(letters.items())[:3]}"


def hops(record: dict) -> int:
    """How often a message was sent on by those who had no more time for it."""
    found = re.search(r'"hops":(\d+)', record["body"])
    return int(found[1]) if found else 0
