"""moto's stand-alone server, mended where it serves two requests at the same moment: run by the Python of moto's own environment.

It rebuilds a queue's list of messages at every delete, so that what is sent at that moment is lost; and it looks whether an object is there
some time before it writes, so that two conditional writes may both succeed. Here one request at a time touches a queue, and one at a time
writes an object. A long poll looks again and again instead of holding the queue.
"""

import sys
import threading
import time

from moto.server import main
from moto.s3.responses import S3Response
from moto.sqs.models import SQSBackend


def one_at_a_time(lock, owner, *names):
    """Makes calls of these methods wait for each other."""

    def waiting(method):
        def locked(*arguments, **named):
            with lock:
                return method(*arguments, **named)

        return locked

    for name in names:
        setattr(owner, name, waiting(getattr(owner, name)))


one_at_a_time(threading.RLock(), S3Response, "put_object", "_key_response_post")
one_at_a_time(threading.RLock(), SQSBackend, "receive_message", "send_message", "delete_message", "change_message_visibility")
receive = SQSBackend.receive_message


def receive_message(self, queue_name, count, wait_seconds_timeout, visibility_timeout, message_attribute_names=None):
    """What is there now, or is there in the time."""
    until = time.monotonic() + wait_seconds_timeout
    while True:
        found = receive(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
        if found or time.monotonic() >= until:
            return found
        time.sleep(0.05)


SQSBackend.receive_message = receive_message

if __name__ == "__main__":
    main(sys.argv[1:])
