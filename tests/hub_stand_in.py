"""A stand-in for the hub's HTTP API: repositories in memory, just enough of it to push a model and to load one."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub:
    """The repositories, by their names: commits by their numbers, and files by their names."""

    def __init__(self) -> None:
        self.repositories: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.asked: list[str] = []
        self.refuses = False

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        commits = self.repositories[repo]
        return next(files for sha, files in reversed(commits) if revision in ("main", sha))

    def sha(self, repo: str) -> str:
        return self.repositories[repo][-1][0]


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._note()
        if found := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)(?:/revision/(\w+))?", self._path()):
            self._of(found[1], lambda repo: self._about(repo, found[2] or "main"))
        elif found := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)/tree/(\w+)", self._path()):
            self._of(found[1], lambda repo: self._json(tree(self.hub.files(repo, found[2]))))
        elif found := re.fullmatch(r"/([\w-]+/[\w-]+)/resolve/(\w+)/([\w.-]+)", self._path()):
            self._of(found[1], lambda repo: self._file(repo, found[2], found[3]))
        else:
            self._json({"error": "not found"}, 404)

    do_HEAD = do_GET  # noqa: N815  (so it is called)

    def do_POST(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._path() == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self.hub.refuses:
            self._json({"error": "You have no right to write here"}, 403)
        elif self._path() == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization', 'user')}/{asked['name']}"
            self.hub.repositories.setdefault(name, [("0" * 40, {})])
            self._json({"url": f"http://{self.headers['Host']}/{name}", "name": name})
        elif found := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)/preupload/main", self._path()):
            names = [file["path"] for file in json.loads(body)["files"]]
            self._json({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif found := re.fullmatch(r"/api/models/([\w-]+/[\w-]+)/commit/main", self._path()):
            self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._json({"error": "not found"}, 404)

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files = dict(self.hub.files(repo))
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        sha = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.hub.repositories[repo].append((sha, files))
        self._json({"commitUrl": f"http://{self.headers['Host']}/{repo}/commit/{sha}", "commitOid": sha})

    def _of(self, repo: str, answer: Any) -> None:
        if repo in self.hub.repositories:
            answer(repo)
        else:
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def _about(self, repo: str, revision: str) -> None:
        if revision in ("main", self.hub.sha(repo)):
            self._json({"id": repo, "sha": self.hub.sha(repo), "siblings": []})
        else:
            self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})

    def _file(self, repo: str, revision: str, name: str) -> None:
        files = self.hub.files(repo, revision)
        if name not in files:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        etag = hashlib.sha1(files[name]).hexdigest()
        self._send(files[name], 200, {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.sha(repo)})

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _note(self) -> None:
        self.hub.asked.append(f"{self.command} {self._path()}")

    def _path(self) -> str:
        return self.path.partition("?")[0]


def tree(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        for name, content in files.items()
    ]


@contextlib.contextmanager
def hub_stand_in() -> Iterator[tuple[Hub, str]]:
    """A hub, and its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
