"""A Space in this process, and the page's protocol over HTTP, with which a test sends it anything."""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx


class Refusal(Exception):
    """An event's error, as a visitor reads it."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(true: Callable[[], bool], seconds: float = 600) -> None:
    """Waits; how long is no measure, only that it comes about."""
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it never came about"
        time.sleep(0.05)


@contextmanager
def launched(demo: Any, port: int = 0):
    """The app in this process, at an address on loopback."""
    from space.ui.app import launch

    port = port or free_port()
    launch(demo, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", server_port=port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        demo.close()


class Stranger:
    """A client that calls any event of the page with any data, also events that no client is offered.

    `took` is what the server spent on the last call, in seconds, the wait in its queue aside.
    """

    patience = 600  # seconds

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=f"{address}/gradio_api", timeout=self.patience)
        self.session, self.took = secrets.token_hex(6), 0.0
        self.events = httpx.get(f"{address}/config", timeout=self.patience).json()
        self.labels = {c["id"]: c["props"].get("label") for c in self.events["components"]}

    def event(self, first_input: str, kind: str) -> int:
        """The number of the event of this kind whose first input has this label."""
        for event in self.events["dependencies"]:
            kinds = {name for _, name in event["targets"]}
            if event["inputs"] and self.labels[event["inputs"][0]] == first_input and kind in kinds:
                return event["id"]
        raise LookupError(f"no {kind} of {first_input!r}")

    def named(self, api_name: str) -> int:
        """The number of an event that has a name for clients."""
        return next(event["id"] for event in self.events["dependencies"] if event["api_name"] == api_name)

    def upload(self, path: Path) -> dict[str, Any]:
        """A file as an event's data names it."""
        with path.open("rb") as file:
            answer = self.http.post("/upload", files={"files": (path.name, file)})
        answer.raise_for_status()
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}, "orig_name": path.name}

    def call(self, event: int, *data: Any) -> list[Any]:
        """What the event answers at its end.

        Raises:
            Refusal: if it fails; with the words that the visitor reads.
        """
        (answer,) = self.call_all([(event, data)])
        if isinstance(answer, Refusal):
            raise answer
        return answer

    def call_all(self, calls: Sequence[tuple[int, Sequence[Any]]]) -> list[list[Any] | Refusal]:
        """What events answer at their ends, in the order of the calls, which wait in the queue together.

        A call alone waits some 0.1 s for its turn; many calls share that time.
        """
        answers: list[list[Any] | Refusal] = [Refusal("the answer ended early")] * len(calls)
        waiting = {}
        for number, (event, data) in enumerate(calls):
            try:
                waiting[self.join(event, *data)] = number
            except Refusal as refusal:
                answers[number] = refusal
        with self.listening() if waiting else nullcontext([]) as news:
            for item in news:
                if item["msg"] != "process_completed":
                    continue
                answers[waiting.pop(item["event_id"])] = self._answer(item)
                if not waiting:
                    break
        return answers

    def _answer(self, item: dict[str, Any]) -> list[Any] | Refusal:
        if not item["success"]:
            return Refusal(str(item["output"].get("error")))
        self.took = item["output"]["duration"]
        return item["output"]["data"]

    def join(self, event: int, *data: Any) -> str:
        """Queues a call and returns its id."""
        asked = {"data": data, "fn_index": event, "session_hash": self.session}
        joined = self.http.post("/queue/join", json=asked)
        if joined.is_error:
            raise Refusal(joined.text)
        return joined.json()["event_id"]

    @contextmanager
    def listening(self) -> Iterator[Iterator[dict[str, Any]]]:
        """What the server reports to this session until the block ends."""
        with self.http.stream("GET", "/queue/data", params={"session_hash": self.session}) as answer:
            lines = (line.removeprefix("data:") for line in answer.iter_lines() if line.startswith("data:"))
            yield map(json.loads, lines)
