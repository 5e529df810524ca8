"""Lambda's event source mapping between a queue and a function.

Follows the AWS Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Handling errors for an SQS event source in Lambda": batches by
long polls, only what succeeded is deleted, an invocation that failed deletes nothing, and what is not deleted comes back when its
visibility timeout lapses. Left out: scaling, filters, and the pause of polling while a function is throttled.
"""

import threading
import time
from dataclasses import dataclass, field

from poller.function import Answer, Function

POLL_SECS = 1
# Most messages of one receive, and of one delete.
REQUEST_MAX = 10


@dataclass
class Invocation:
    """One batch and what became of it."""

    records: list[dict]
    answer: Answer
    deleted: set[str]
    """Message ids."""
    secs: float

    @property
    def error(self) -> str | None:
        """The kind of error that it ended in."""
        return self.answer.error


@dataclass
class Mapping:
    """Pollers of one queue. Use as a context manager: they run inside of it."""

    sqs: object
    queue_url: str
    queue_arn: str
    function: Function
    batch_size: int
    window_secs: float = 0
    pollers: int = 1
    deliveries: int = 1
    """How often each batch is handed over before it is settled: more than once is what "at least once" allows."""
    invocations: list[Invocation] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What went wrong with a poller itself."""

    def __enter__(self):
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(self.pollers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        try:
            while not self._stopping.is_set():
                if messages := self._batch():
                    self._hand_over(messages)
        except Exception as error:
            self.broken.append(f"{type(error).__name__}: {error}")

    def _receive(self, wanted: int, wait_secs: int) -> list[dict]:
        return self.sqs.receive_message(
            QueueUrl=self.queue_url,
            MaxNumberOfMessages=min(wanted, REQUEST_MAX),
            WaitTimeSeconds=wait_secs,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])

    def _batch(self) -> list[dict]:
        messages = self._receive(self.batch_size, POLL_SECS)
        until = time.monotonic() + self.window_secs
        while messages and len(messages) < self.batch_size and time.monotonic() < until:
            more = self._receive(self.batch_size - len(messages), 0)
            messages += more
            if not more:
                time.sleep(0.1)
        return messages

    def _hand_over(self, messages: list[dict]):
        event, began = {"Records": [self._record(message) for message in messages]}, time.monotonic()
        for _ in range(self.deliveries):
            answer = self.function.invoke(event)
        handles = {message["MessageId"]: message["ReceiptHandle"] for message in messages}
        done = [] if answer.error else [id_ for id_ in handles if id_ not in given_back(answer.payload, set(handles))]
        for start in range(0, len(done), REQUEST_MAX):
            entries = [{"Id": str(at), "ReceiptHandle": handles[id_]} for at, id_ in enumerate(done[start : start + REQUEST_MAX])]
            refused = self.sqs.delete_message_batch(QueueUrl=self.queue_url, Entries=entries).get("Failed", [])
            if refused:
                raise RuntimeError(f"deletes were refused: {refused}")
        self.invocations.append(Invocation(event["Records"], answer, set(done), time.monotonic() - began))

    def _record(self, message: dict) -> dict:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self.queue_arn,
            "awsRegion": self.queue_arn.split(":")[3],
        }


def _attribute(value: dict) -> dict:
    named = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        named["stringValue"] = value["StringValue"]
    return named


def given_back(answer: object, ids: set[str]) -> set[str]:
    """The messages that an answer asks to have delivered again: all of them, where it is not as Lambda wants it."""
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if not failures:
        return set()
    named = {failure.get("itemIdentifier") for failure in failures}
    return named if named <= ids else ids
