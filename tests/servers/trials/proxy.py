"""A reverse proxy that logs every request and misbehaves on demand.

It stands between `ferry` and one server, so that requests are counted by somebody other than `ferry`, and so
that answers can be delayed, damaged or lost. The Host header passes unchanged, which keeps signatures valid.
"""

import http.client
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}


@dataclass
class Request:
    """One request as it came in."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: socket.socket

    def __post_init__(self):
        parts = urlsplit(self.target)
        self.query = parse_qs(parts.query, keep_blank_values=True)
        bucket, _, key = parts.path.removeprefix("/").partition("/")
        self.bucket, self.key = unquote(bucket), unquote(key)
        self.kind = self._kind()

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for found, value in self.headers if found.lower() == name), None)

    def _kind(self) -> str:
        if not self.key:
            return "LIST" if self.method == "GET" else f"{self.method} bucket"
        if "tagging" in self.query:
            return f"{self.method} tags"
        if "uploadId" in self.query:
            return {"PUT": "PART", "POST": "COMPLETE", "DELETE": "ABORT"}.get(self.method, self.method)
        return "CREATE" if "uploads" in self.query else self.method

    def is_abandoned(self) -> bool:
        """Whether its sender has hung up."""
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    @property
    def goes_on(self) -> bool:
        """A listing's second or later page."""
        return self.kind == "LIST" and ("continuation-token" in self.query or "marker" in self.query)


@dataclass
class Response:
    """One answer as it goes out; `cut_at` closes the connection after so many bytes of the body."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    cut_at: int | None = None


class Dropped(Exception):
    """Raised by a rule: the connection closes without an answer."""


@dataclass
class Rule:
    """What to do with matching requests, at most `times` times.

    `before` may answer in the server's place or change the request; `after` may change the server's answer.
    """

    matches: Callable[[Request], bool]
    before: Callable[[Request], Response | None] | None = None
    after: Callable[[Request, Response], Response] | None = None
    times: int | None = None
    used: int = 0


class Proxy:
    """Forwards to one server. Use as a context manager."""

    def __init__(self, upstream: str):
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname, parts.port)
        self.rules: list[Rule] = []
        self.log: list[Request] = []
        self.broken: list[str] = []
        """Rules of ours that raised, which must not pass for a fault of the server."""
        self.page_size: int | None = None
        """Asked of every listing that names none. Only for servers that do not check signatures."""
        self._lock = threading.Lock()
        self._under_way = 0
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def reset(self, *rules: Rule):
        """Forgets the log and the rules, and takes new rules."""
        with self._lock:
            self.log, self.rules = [], list(rules)

    def settle(self):
        """Waits until nothing has been under way for a moment: what a program sent before it was killed still arrives."""
        quiet = 0
        while quiet < 5:
            time.sleep(0.1)
            quiet = 0 if self._under_way else quiet + 1

    def enter(self, change: int):
        """Counts a request in or out."""
        with self._lock:
            self._under_way += change

    def counts(self) -> Counter:
        """Requests since the last reset, by kind."""
        with self._lock:
            return Counter(request.kind for request in self.log)

    def note(self, request: Request) -> list[Rule]:
        """Logs a request and returns the rules that apply to it."""
        with self._lock:
            self.log.append(request)
            found = []
            for rule in self.rules:
                if (rule.times is None or rule.used < rule.times) and rule.matches(request):
                    rule.used += 1
                    found.append(rule)
            return found


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    proxy: Proxy

    def handle_error(self, request, client_address):
        """Clients that go away are part of the trials."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: http.client.HTTPConnection | None = None

    def log_message(self, *_):
        pass

    def _serve(self):
        self.server.proxy.enter(1)
        try:
            self._serve_one()
        finally:
            self.server.proxy.enter(-1)

    def _serve_one(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # Killed in the middle of it: the server would wait minutes for the rest.
            self.close_connection = True
            return
        request = Request(self.command, self.path, list(self.headers.items()), body, self.connection)
        rules = self.server.proxy.note(request)
        if request.kind == "LIST" and self.server.proxy.page_size and "max-keys" not in request.query:
            request.target += f"&max-keys={self.server.proxy.page_size}"
        try:
            response = next((r for rule in rules if rule.before and (r := rule.before(request))), None)
            response = response or self._forward(request)
            for rule in rules:
                if rule.after:
                    response = rule.after(request, response)
        except (Dropped, OSError, http.client.HTTPException):
            self.close_connection = True
            return
        except Exception:
            self.server.proxy.broken.append(traceback.format_exc())
            raise
        self._answer(request, response)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _forward(self, request: Request) -> Response:
        for attempt in (1, 2):
            if self.upstream is None:
                self.upstream = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=120)
            try:
                self.upstream.putrequest(
                    request.method, request.target, skip_host=True, skip_accept_encoding=True
                )
                for name, value in request.headers:
                    if name.lower() not in HOP_BY_HOP and name.lower() != "expect":
                        self.upstream.putheader(name, value.encode("latin-1"))
                self.upstream.endheaders(request.body)
                answer = self.upstream.getresponse()
                return Response(answer.status, answer.getheaders(), answer.read())
            except (OSError, http.client.HTTPException):
                # The server closed an idle connection: once more on a fresh one.
                self.upstream.close()
                self.upstream = None
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def _answer(self, request: Request, response: Response):
        lines = [f"HTTP/1.1 {response.status} Proxied"]
        for name, value in response.headers:
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                lines.append(f"{name}: {value}")
        declared = [value for name, value in response.headers if name.lower() == "content-length"]
        bodiless = request.method == "HEAD" or response.status in (204, 304)
        lines.append(f"Content-Length: {declared[0] if bodiless and declared else len(response.body)}")
        message = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if not bodiless:
            message += response.body[: response.cut_at]
        self.wfile.write(message)
        if response.cut_at is not None:
            self.close_connection = True


def refusal(status: int, code: str) -> Response:
    """An S3 error document."""
    body = f"<Error><Code>{code}</Code><Message>by the trial</Message></Error>"
    return Response(status, [("Content-Type", "application/xml")], body.encode())
