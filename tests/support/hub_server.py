"""A Hub on loopback for the unmodified clients: commits, branches, LFS behind another host name, faults on order.

It keeps everything in memory. Files ending in `.safetensors` go through LFS, the others are plain. `HEAD` and `GET` of
an LFS file answer with a redirect from 127.0.0.1 to localhost, as the Hub's do to its storage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock, Thread
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.support import hub_login

TOKENS = {"hf_owner": "user", "hf_other": "other"}
RESET = "reset"


@dataclass
class Repo:
    """Commits by sha, each a whole tree; names that point at them."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, changes: dict[str, bytes | None], ref: str = "main", message: str = "") -> str:
        tree = {**self.commits.get(self.refs.get(ref, ""), {}), **changes}
        kept = {path: content for path, content in tree.items() if content is not None}
        sha = hashlib.sha1(f"{self.refs.get(ref)}{len(self.commits)}{sorted(kept)}".encode()).hexdigest()
        self.commits[sha], self.refs[ref] = kept, sha
        self.messages.append(message)
        return sha

    def tree(self, ref: str = "main") -> dict[str, bytes]:
        return self.commits[self.refs.get(ref, ref)]


@dataclass
class Fault:
    """What happens to the next `times` requests whose method and path match."""

    method: str
    path: str
    act: Callable[[Handler], None] | int | str
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


class Hub:
    """The server; use as a context manager. `requests` lists what was asked, `sent` counts the bytes answered,
    `faults` says what is to go wrong."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.faults: list[Fault] = []
        self.sent = 0  # bytes answered
        self.lock = RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.storage = f"http://localhost:{self.server.server_port}/storage"

    def __enter__(self) -> Hub:
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, repo_id: str, files: dict[str, bytes], **kind: bool) -> Repo:
        repo = self.repos[repo_id] = Repo(**kind)
        repo.commit(files, message="initial commit")
        return repo

    def fail(self, method: str, path: str, act: Callable[[Handler], None] | int | str, times: int = 1, **headers: str):
        self.faults.append(Fault(method, path, act, times, headers))

    def asked(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.requests]


def is_lfs(path: str) -> bool:
    return path.endswith(".safetensors")


def oid(path: str, content: bytes) -> str:
    if is_lfs(path):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def listed(path: str, content: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(content), "oid": oid(path, content)}
    if is_lfs(path):
        entry["lfs"] = {"oid": oid(path, content), "size": len(content), "pointerSize": 130}
    return entry


def front_matter(text: str) -> dict:
    match = re.match(r"\A---\n(.*?)\n---\n", text, re.DOTALL)
    return yaml.safe_load(match[1]) if match else {}


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def handle_any(self) -> None:
        self.cut = self.etag = self.change = None  # what a fault may set for this one answer
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        with self.hub.lock:
            self.hub.requests.append((self.command, path, dict(self.headers)))
        try:
            if self.injected(path):
                return
            length = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(length)
            with self.hub.lock:
                for method, pattern, answer in ROUTES:
                    if self.command in method and (match := re.fullmatch(pattern, path)):
                        answer(self, *match.groups())
                        return
            raise Refused(404, "", f"no route {self.command} {path}")
        except Refused as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self.send(refusal.status, {"error": refusal.message or refusal.code}, **headers)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def log_message(self, *_: object) -> None:
        pass

    def injected(self, path: str) -> bool:
        with self.hub.lock:
            due = (f for f in self.hub.faults if f.times and f.method == self.command and re.search(f.path, path))
            fault = next(due, None)
            if fault is None:
                return False
            fault.times -= 1
        if fault.act == RESET:
            self.rfile.read(min(100, int(self.headers.get("Content-Length") or 0)))
            self.reset()
        elif isinstance(fault.act, int):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send(fault.act, {"error": "on order"}, **fault.headers)
        else:
            fault.act(self)  # goes on with the usual answer, unless it changes what that is
            return False
        return True

    def reset(self) -> None:
        """Breaks the connection hard: the client sees a reset, not an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def send(self, status: int, content: bytes | dict | list = b"", **headers: str) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.hub.sent += len(raw[: self.cut])
            self.wfile.write(raw[: self.cut])
            if self.cut is not None:
                self.wfile.flush()
                self.reset()

    # Who may see what

    def expect(self, fine: bool, message: str) -> None:
        if not fine:
            raise Refused(400, "", message)

    def user(self) -> str | None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given and given not in TOKENS:
            raise Refused(401, "", "Invalid credentials in Authorization header")
        return TOKENS.get(given)

    def repo(self, repo_id: str, write: bool = False) -> Repo:
        user, repo = self.user(), self.hub.repos.get(repo_id)
        if repo is None or (repo.private and user != repo_id.split("/")[0]):
            raise Refused(404 if user else 401, "RepoNotFound", "Repository not found")
        if write and user != repo_id.split("/")[0]:
            raise Refused(403, "", "you don't have the rights to write here")
        return repo

    def sha(self, repo: Repo, revision: str) -> str:
        found = repo.refs.get(revision, revision)
        if found not in repo.commits:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    # What is answered

    def whoami(self) -> None:
        if (user := self.user()) is None:
            raise Refused(401, "", "Invalid username or password.")
        self.send(200, {"type": "user", "name": user, "fullname": user, "orgs": []})

    def create(self) -> None:
        asked, user = json.loads(self.body), self.user()
        if user is None:
            raise Refused(401, "", "Invalid username or password.")
        repo_id = f"{asked.get('organization') or user}/{asked['name']}"
        if not repo_id.startswith(f"{user}/"):
            raise Refused(403, "", "you don't have the rights to create a model under this namespace")
        answer = {"url": f"{self.hub.endpoint}/{repo_id}", "name": repo_id}
        if repo_id in self.hub.repos:
            return self.send(409, {**answer, "error": "You already created this model repo"})
        self.hub.add(repo_id, {".gitattributes": b"*.safetensors filter=lfs\n"},
                     private=asked.get("visibility") == "private" or bool(asked.get("private")))  # fmt: skip
        self.send(200, answer)

    def validate_yaml(self) -> None:
        problems = []
        try:
            data = front_matter(json.loads(self.body)["content"])
            for item in data.get("model-index", []):
                assert item["name"]
                for result in item["results"]:
                    assert result["task"]["type"]
                    assert result["dataset"]["type"]
                    assert result["dataset"]["name"]
                    assert all(isinstance(metric["type"], str) and "value" in metric for metric in result["metrics"])
            base = data.get("base_model")
            assert base is None or re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base), f"base_model {base!r} is no model id"
        except (yaml.YAMLError, AssertionError, KeyError, TypeError) as error:
            problems = [{"message": repr(error)}]
        self.send(400 if problems else 200, {"errors": problems, "warnings": []})

    def list_models(self) -> None:
        wanted = set(self.query.get("filter", []))
        rows = []
        for repo_id, repo in self.hub.repos.items():
            card = front_matter(repo.tree().get("README.md", b"").decode())
            tags = {*card.get("tags", []), f"base_model:{card.get('base_model_relation')}:{card.get('base_model')}"}
            if not repo.private and wanted <= tags:
                rows.append({"id": repo_id, "modelId": repo_id, "tags": sorted(tags), "downloads": 1, "likes": 0})
        self.send(200, rows[: int(self.query.get("limit", ["1000"])[0])])

    def info(self, repo_id: str, revision: str | None = None) -> None:
        repo = self.repo(repo_id)
        sha = self.sha(repo, revision or "main")
        files = [{"rfilename": path} for path in repo.commits[sha]]
        name = repo_id.removeprefix("datasets/")
        self.send(200, {"id": name, "modelId": name, "sha": sha, "private": repo.private, "siblings": files,
                        "gated": "auto" if repo.gated else False, "tags": []})  # fmt: skip

    def paths_info(self, repo_id: str, revision: str) -> None:
        repo = self.repo(repo_id)
        tree = repo.commits[self.sha(repo, revision)]
        asked = parse_qs(self.body.decode()).get("paths", [])
        self.send(200, [listed(path, tree[path]) for path in asked if path in tree])

    def tree(self, repo_id: str, revision: str, folder: str | None = None) -> None:
        repo = self.repo(repo_id)
        found = repo.commits[self.sha(repo, revision)]
        start = f"{folder}/" if folder else ""
        below = {path: content for path, content in found.items() if path.startswith(start)}
        if folder and not below:
            raise Refused(404, "EntryNotFound", f"{folder} does not exist")
        deep = self.query.get("recursive", ["false"])[0].lower() == "true"
        parents = {path[: path.index("/", at)] for path in below for at in range(len(start), path.rfind("/"))}
        folders = sorted(path for path in parents if deep or "/" not in path.removeprefix(start))
        files = [path for path in below if deep or "/" not in path.removeprefix(start)]
        self.send(200, [
            *({"type": "directory", "path": path, "oid": oid(path, path.encode()), "size": 0} for path in folders),
            *(listed(path, below[path]) for path in files),
        ])  # fmt: skip

    def list_refs(self, repo_id: str) -> None:
        repo = self.repo(repo_id)
        rows = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": sha} for n, sha in repo.refs.items()]
        self.send(200, {"branches": rows, "tags": [], "converts": [], "pullRequests": []})

    def branch(self, repo_id: str, name: str) -> None:
        repo = self.repo(repo_id, write=True)
        if name in repo.refs:
            raise Refused(409, "", "Reference already exists")
        start = json.loads(self.body or b"{}").get("startingPoint") or "main"
        repo.refs[name] = self.sha(repo, start)
        self.send(200, {})

    def preupload(self, repo_id: str, revision: str) -> None:
        repo = self.repo(repo_id, write="create_pr" not in self.query)
        tree = repo.commits[self.sha(repo, revision)]
        answers = []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            there = oid(path, tree[path]) if path in tree else None
            mode = "lfs" if is_lfs(path) else "regular"
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": there})
        self.send(200, {"files": answers})

    def lfs_batch(self, repo_id: str) -> None:
        self.repo(repo_id)
        objects = []
        for item in json.loads(self.body)["objects"]:
            if item["oid"] in self.hub.lfs:
                objects.append(item)
            else:
                put = {"href": f"{self.hub.storage}/{item['oid']}"}
                check = {"href": f"{self.hub.endpoint}/{repo_id}.git/info/lfs/objects/verify"}
                objects.append({**item, "actions": {"upload": put, "verify": check}})
        self.send(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, sha256: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != sha256:
            raise Refused(400, "", "content and digest differ")
        self.hub.lfs[sha256] = self.body
        self.send(200)

    def lfs_verify(self, repo_id: str) -> None:
        asked = json.loads(self.body)
        stored = self.hub.lfs.get(asked["oid"])
        self.send(200 if stored is not None and len(stored) == asked["size"] else 404, {})

    def commit(self, repo_id: str, revision: str) -> None:
        as_pr = "create_pr" in self.query
        repo = self.repo(repo_id, write=not as_pr)
        if self.user() is None:
            raise Refused(401, "", "Invalid username or password.")
        head, *steps = [json.loads(line) for line in self.body.splitlines()]
        parent = head["value"].get("parentCommit")
        if parent and parent != self.sha(repo, revision):
            raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
        changes: dict[str, bytes | None] = {}
        for step in steps:
            value = step["value"]
            if step["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                changes[value["path"]] = self.hub.lfs[value["oid"]]
            else:
                changes[value["path"]] = None
        ref, url = revision, None
        if as_pr:
            ref = f"refs/pr/{sum(name.startswith('refs/pr') for name in repo.refs) + 1}"
            repo.refs[ref] = self.sha(repo, revision)
            url = f"{self.hub.endpoint}/{repo_id}/discussions/{ref[8:]}"
        sha = repo.commit(changes, ref, head["value"]["summary"])
        where = f"{self.hub.endpoint}/{repo_id}/commit/{sha}"
        self.send(200, {"success": True, "commitOid": sha, "commitUrl": where, "pullRequestUrl": url})

    def resolve(self, repo_id: str, revision: str, path: str) -> None:
        repo = self.repo(repo_id)
        if repo.gated and self.user() != repo_id.split("/")[0]:
            raise Refused(403 if self.user() else 401, "GatedRepo", "Access to this model is restricted")
        sha = self.sha(repo, revision)
        if path not in repo.commits[sha]:
            headers = {"X-Repo-Commit": sha, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self.send(404, {"error": "Entry not found"}, **headers)
        content = repo.commits[sha][path]
        etag = self.etag or f'"{oid(path, content)}"'
        headers = {"X-Repo-Commit": sha, "ETag": etag}
        if not is_lfs(path):
            return self.content(content, **headers)
        digest = oid(path, content)
        self.hub.lfs[digest] = content
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(len(content))}
        self.send(302, b"", Location=f"{self.hub.storage}/{digest}", **headers)

    def lfs_get(self, sha256: str) -> None:
        if sha256 not in self.hub.lfs:
            raise Refused(404, "", "no such object")
        self.content(self.hub.lfs[sha256], ETag=f'"{sha256}"')

    def content(self, content: bytes, **headers: str) -> None:
        content = self.change(content) if self.change else content
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, len(content)) if asked and asked[2] else len(content)
        headers |= {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"} if asked else {}
        self.send(206 if asked else 200, content[start:end], Accept_Ranges="bytes", **headers)


MODEL = r"([\w.-]+/[\w.-]+)"
DATASET = r"(datasets/[\w.-]+/[\w.-]+)"  # kept under this name
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate_yaml),
    ("GET", "/api/models", Handler.list_models),
    ("POST", f"/api/models/{MODEL}/preupload/(.+)", Handler.preupload),
    ("POST", f"/api/models/{MODEL}/commit/(.+)", Handler.commit),
    ("POST", f"/api/models/{MODEL}/paths-info/(.+)", Handler.paths_info),
    ("POST", f"/api/models/{MODEL}/branch/(.+)", Handler.branch),
    ("GET", f"/api/models/{MODEL}/refs", Handler.list_refs),
    ("GET", f"/api/models/{MODEL}/tree/([^/]+)(?:/(.+))?", Handler.tree),
    ("GET", f"/api/models/{MODEL}/revision/(.+)", Handler.info),
    ("GET", f"/api/models/{MODEL}", Handler.info),
    ("POST", rf"/{MODEL}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("POST", rf"/{MODEL}\.git/info/lfs/objects/verify", Handler.lfs_verify),
    ("PUT", "/storage/(.+)", Handler.lfs_put),
    ("GET HEAD", "/storage/(.+)", Handler.lfs_get),
    ("GET HEAD", f"/{MODEL}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("POST", f"/api/{DATASET}/paths-info/(.+)", Handler.paths_info),
    ("GET", f"/api/{DATASET}/tree/([^/]+)(?:/(.+))?", Handler.tree),
    ("GET", f"/api/{DATASET}(?:/revision/(.+))?", Handler.info),
    ("GET HEAD", f"/{DATASET}/resolve/([^/]+)/(.+)", Handler.resolve),
    *hub_login.ROUTES,
]
