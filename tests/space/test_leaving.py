"""Clients that leave the running Space in the middle of a call, over HTTP, over MCP, and as a page."""

import asyncio
import math
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from gradio_client import Client

from space.inputs.run_request import BUDGETS
from space.ui import presence
from tests.support.browser import browsing, expect, in_chromium
from tests.support.gradio_http import Stranger, until

GONE, KEPT = "bomb\ndagger", "guitar\nbanana"
LONG = {"keep": KEPT, "images": "drawings", "budget": BUDGETS[1], "method": "context"}  # far longer than any test waits
ASKED = [GONE, KEPT, "embedded", "drawings", BUDGETS[1], "normal", "", "context"]
PLACES = 2  # runs at a time


@pytest.fixture(scope="module", autouse=True)
def model_is_loaded(address):
    client_of(address).predict("absinthe", api_name="/forget")


@pytest.fixture(autouse=True)
def nobody_left_behind(demo, address):
    yield
    until(lambda: at_work() == 0 and not queued(demo))


def at_work() -> int:
    return sum(thread.name == "run" for thread in threading.enumerate())


def heard(demo) -> bool:
    """Whether everybody who asked also listens."""
    return all(messages.empty() for messages in list(demo._queue.pending_messages_per_session.values()))


def queued(demo) -> int:
    return len(demo._queue)


def client_of(address: str) -> Client:
    return Client(address, verbose=False, analytics_enabled=False)


def a_short_run(address: str) -> None:
    """Would never come to an end behind runs that go on."""
    made = client_of(address).submit("absinthe", api_name="/forget").result(timeout=600)
    assert made["forget"] == ["absinthe"]


@contextmanager
def cancelled(address):
    """By the client's own means."""
    job = client_of(address).submit(GONE, **LONG, api_name="/forget")
    yield
    job.cancel()


@contextmanager
def closed(address):
    """The connection that waits for the answer ends."""
    visitor = Stranger(address)
    visitor.join(visitor.named("forget"), *ASKED)
    with visitor.listening() as news:
        next(news)
        yield


@contextmanager
def closed_plain_http(address):
    """As a script with curl does it."""
    visitor = Stranger(address)
    event = visitor.http.post("/call/forget", json={"data": ASKED}).json()["event_id"]
    with visitor.http.stream("GET", f"/call/forget/{event}"):
        yield


@contextmanager
def killed(address):
    code = (
        "import sys; from gradio_client import Client\n"
        "client = Client(sys.argv[1], verbose=False, analytics_enabled=False)\n"
        f"client.predict({GONE!r}, api_name='/forget', **{LONG!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code, address], env={**os.environ, "HF_HUB_OFFLINE": "1"})
    yield
    process.kill()
    process.wait()


@contextmanager
def agent_gone(address, progress=None):
    """An agent over MCP, whose connection ends."""
    pytest.importorskip("mcp")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    call = asyncio.run_coroutine_threadsafe(agent(address, progress), loop)
    yield
    call.cancel()
    until(lambda: not asyncio.all_tasks(loop))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


async def agent(address, progress):
    import mcp
    from mcp.client.streamable_http import streamablehttp_client

    async with (
        streamablehttp_client(f"{address}/gradio_api/mcp/") as (read, write, _),
        mcp.ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await session.call_tool("forget", {"forget": GONE, **LONG}, progress_callback=progress)


@contextmanager
def agent_gone_who_heard(address):
    async def hears(*_):
        pass

    with agent_gone(address, hears):
        yield


WAYS = [cancelled, closed, closed_plain_http, killed, agent_gone, agent_gone_who_heard]


@pytest.mark.parametrize("leaving", WAYS)
def test_who_leaves_ends_the_run_and_the_next_visitor_has_the_place(demo, address, leaving):
    with leaving(address), leaving(address):
        until(lambda: at_work() == PLACES and heard(demo))
    a_short_run(address)
    until(lambda: at_work() == 0)


@pytest.mark.parametrize("leaving", WAYS)
def test_who_leaves_while_waiting_gives_up_the_place_in_the_queue(demo, address, leaving):
    with closed(address), closed(address):
        until(lambda: at_work() == PLACES)
        with leaving(address):
            until(lambda: queued(demo) == 1 and heard(demo))
        until(lambda: queued(demo) == 0)
        assert at_work() == PLACES


def test_one_agent_that_leaves_takes_no_other_agents_run_along(address):
    with agent_gone(address):
        until(lambda: at_work() == 1)
        with agent_gone(address):
            until(lambda: at_work() == 2)
        until(lambda: at_work() == 1)
        a_short_run(address)
        assert at_work() == 1


def test_who_joins_and_never_listens_is_given_up(address, monkeypatch):
    monkeypatch.setattr(presence, "UNREAD_SECONDS", math.inf)  # else the first is given up before the second begins
    for _ in range(PLACES):
        visitor = Stranger(address)
        visitor.join(visitor.named("forget"), *ASKED)
    until(lambda: at_work() == PLACES)
    monkeypatch.setattr(presence, "UNREAD_SECONDS", 0.0)
    until(lambda: at_work() == 0)
    monkeypatch.undo()
    a_short_run(address)


@in_chromium
def test_a_page_that_is_closed_ends_its_run(address):
    with browsing() as chromium:
        pages = [chromium.new_page() for _ in range(PLACES)]
        for page in pages:
            page.goto(f"{address}/?tab=forget")
            page.get_by_label("The demo's drawings").check()
            page.get_by_label("Ticked names").fill(GONE)
            page.get_by_role("button", name="Advanced").click()
            page.get_by_label("number input for Budget").fill(str(BUDGETS[1]))
            page.get_by_role("button", name="Make it forget").click()
            expect(page.get_by_text("Searching")).to_be_visible()
        assert at_work() == PLACES
        for page in pages:
            page.close()
        a_short_run(address)
