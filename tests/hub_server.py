"""A Hugging Face Hub on this machine: repositories in memory, the real protocol over HTTP, and faults on request."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = hashlib.sha1(b"the only commit").hexdigest()


@dataclass(frozen=True)
class Request:
    """One request as the server saw it."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class Fault:
    """What goes wrong with a file. times: for how many requests; method: of which kind ("HEAD", "GET" or both: "")."""

    kind: str
    times: int = 1_000_000
    method: str = ""
    amount: float = 0  # bytes after which a broken answer ends, or seconds of waiting


@dataclass
class Hub:
    """Repositories by name, each a dictionary of paths and bytes; faults by file path ("" is for every file)."""

    repositories: dict[str, dict[str, bytes]]
    faults: dict[str, Fault] = field(default_factory=dict)
    small: tuple[str, ...] = (".json",)  # kept in Git itself, so known by Git's hash, and not redirected
    gated: tuple[str, ...] = ()
    token: str | None = None  # if given, every request must bring it
    requests: list[Request] = field(default_factory=list)
    endpoint: str = ""
    release: threading.Event = field(default_factory=threading.Event)

    def count(self, method: str) -> Counter[str]:
        """How often each file was asked for with a method, by its path in the repository."""
        seen = (request.path for request in self.requests if request.method == method)
        return Counter(path.split("/", 5)[-1] for path in seen if "/resolve/" in path)

    def fault(self, path: str, method: str) -> Fault | None:
        """The fault to show now, if there is one; each showing uses it up by one."""
        for name in (path, ""):
            fault = self.faults.get(name)
            if fault and fault.times > 0 and fault.method in ("", method):
                fault.times -= 1
                return fault
        return None


def sha256(content: bytes) -> str:
    """The hash by which large files are known."""
    return hashlib.sha256(content).hexdigest()


def git_hash(content: bytes) -> str:
    """The hash by which small files are known."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Answer on a free port of the loopback interface while the block runs."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """/{owner}/{name}/resolve/{revision}/{path} states a file and redirects large ones to /storage/{sha256}."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Silence: what was asked is in hub.requests."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(self.path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.requests.append(Request(self.command, path, self.headers.get("Range"), token))
        try:
            if path.startswith("/storage/"):
                self._storage(path)
            else:
                self._resolve(path, token)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _resolve(self, path: str, token: str | None) -> None:
        parts = path.strip("/").split("/")
        if len(parts) < 5 or parts[2] != "resolve":
            return self._refuse(404, "RepoNotFound")
        repository, revision, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if self.hub.token and token != self.hub.token:
            return self._refuse(401, None, "Invalid credentials in Authorization header")
        if repository in self.hub.gated:
            return self._refuse(403, "GatedRepo")
        if repository not in self.hub.repositories:
            return self._refuse(401, "RepoNotFound")
        if revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if file not in self.hub.repositories[repository]:
            return self._refuse(404, "EntryNotFound")
        self._state(file, self.hub.repositories[repository][file])

    def _state(self, file: str, content: bytes) -> None:
        fault = self.hub.fault(file, self.command)
        if fault and fault.kind in REFUSALS:
            return REFUSALS[fault.kind](self)
        if fault and fault.kind == "slow":
            self.hub.release.wait(fault.amount)
        small = file.endswith(self.hub.small)
        tag = git_hash(content) if small else sha256(content)
        stated = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if fault and fault.kind == "not a hub":
            del stated["X-Repo-Commit"]
        if small:
            return self._send(content, stated, fault)
        size = int(fault.amount) if fault and fault.kind == "huge" else len(content)
        stated |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(size)}
        if self.command == "HEAD" and fault and fault.kind == "no redirect":
            return self._send(content, stated, fault)
        # Content lies elsewhere, as the real Hub's large files do: another path, another host name.
        storage = self.hub.endpoint.replace("127.0.0.1", "localhost")
        self._head(302, stated | {"Location": f"{storage}/storage/{tag}/{file}", "Content-Length": "0"})

    def _storage(self, path: str) -> None:
        tag, file = path.removeprefix("/storage/").split("/", 1)
        content = next(
            files[file] for files in self.hub.repositories.values() if file in files and sha256(files[file]) == tag
        )
        self._send(content, {"ETag": f'"{tag}"', "Accept-Ranges": "bytes"}, self.hub.fault(f"storage:{file}", "GET"))

    def _send(self, content: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        if fault and fault.kind in REFUSALS:
            return REFUSALS[fault.kind](self)
        if fault and fault.kind == "altered":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault and fault.kind == "pointer":
            content = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".ljust(len(content))
        status, begin = 200, 0
        asked = self.headers.get("Range")
        if asked and not (fault and fault.kind == "no ranges"):
            begin = int(asked.removeprefix("bytes=").split("-")[0])
            status, headers = 206, headers | {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
        body = content[begin:]
        self._head(status, headers | {"Content-Length": str(len(body))})
        if self.command == "HEAD":
            return
        if fault and fault.kind in ("truncated", "stalled", "reset"):
            self.wfile.write(body[: int(fault.amount)])
            self.wfile.flush()
            if fault.kind == "stalled":
                self.hub.release.wait(60)
            if fault.kind == "reset":  # closed at once; what is still on the way is lost
                time.sleep(0.2)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            self.close_connection = True
            return
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: int, code: str | None, message: str = "no") -> None:
        headers = {"X-Error-Message": message, "Content-Length": "0"}
        self._head(status, headers | ({"X-Error-Code": code} if code else {}))


def _status(code: int) -> Callable[[_Handler], None]:
    return lambda handler: handler._refuse(code, None)


REFUSALS = {str(code): _status(code) for code in (401, 403, 404, 429, 500, 503)}


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Return as soon as something has come true; fail when it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
