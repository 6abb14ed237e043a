"""Whether a client still waits for its answer: a client that leaves gives up its runs and its places."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import gradio as gr
from anyio.to_thread import run_sync
from gradio.context import LocalContext

UNREAD_SECONDS = 30.0  # a client joins first and listens then, a script maybe a little later


def waiting() -> Callable[[], bool]:
    """A function that says whether the client of the current call still waits for the answer.

    It does not if its connection is closed, it has cancelled the call, or it does not read its messages.
    """
    blocks, event_id = LocalContext.blocks.get(None), call_id() or ""
    if blocks is None or (event := blocks._queue.event_ids_to_events.get(event_id)) is None:  # called without a queue
        return lambda: True
    queue = blocks._queue
    unread_since: float | None = None

    def waits() -> bool:
        nonlocal unread_since
        if not event.alive or queue.event_ids_to_events.get(event_id) is not event:
            return False
        messages = queue.pending_messages_per_session.get(event.session_hash)
        if messages is None or messages.empty():
            unread_since = None
            return messages is not None
        unread_since = unread_since or time.monotonic()
        return time.monotonic() - unread_since < UNREAD_SECONDS

    return waits


def call_id() -> str | None:
    """The identifier of the current call; None where there is no queue."""
    return LocalContext.event_id.get(None)


def visitors_before(line: str, session: str = "") -> tuple[int, bool]:
    """How many calls are at work or wait in a line, and whether the session waits: then those before it count.

    Args:
        line: the `concurrency_id` of the calls.
    """
    blocks = LocalContext.blocks.get(None)
    queue = blocks._queue.event_queue_per_concurrency_id.get(line) if blocks is not None else None
    if queue is None:
        return 0, False
    waiting = [event.session_hash for event in list(queue.queue)]
    waits = session in waiting
    return queue.current_concurrency + (waiting.index(session) if waits else len(waiting)), waits


async def leave_line(line: str, session: str) -> None:
    """Ends a session's calls that wait in a line, with an error that the page does not show."""
    from gradio.server_messages import ProcessCompletedMessage

    if (blocks := LocalContext.blocks.get(None)) is None:
        return
    queue = blocks._queue
    waiting = queue.event_queue_per_concurrency_id[line].queue if line in queue.event_queue_per_concurrency_id else []
    for event in [event for event in list(waiting) if event.session_hash == session]:
        await queue.remove_from_queue(event._id)
        queue.send_message(event, ProcessCompletedMessage(output={"error": "", "visible": False}, success=False))


def release_agents(demo: gr.Blocks) -> None:
    """Ends a call over MCP whose agent leaves in the middle of it.

    Gradio answers agents through an internal client, which waits to the end even if the agent is not there any more.
    """
    if (server := demo.mcp_server_obj) is None:
        return

    async def answer(job: Any) -> list[Any]:
        return [await run_sync(job.result, abandon_on_cancel=True)]

    def released(execute: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def executed(job: Any, *more: Any) -> Any:
            try:
                return await execute(job, *more)
            except anyio.get_cancelled_exc_class():
                with anyio.CancelScope(shield=True):
                    await _give_up(demo, job)
                raise

        return executed

    agents: Any = server
    agents._execute_tool_without_progress = released(answer)
    agents._execute_tool_with_progress = released(agents._execute_tool_with_progress)


async def _give_up(demo: gr.Blocks, job: Any) -> None:
    """Cancels one call of Gradio's internal client, and sends that client the end of it."""
    from gradio.server_messages import ProcessCompletedMessage

    while (event_id := job.communicator.event_id) is None and not job.done():  # not joined yet
        await asyncio.sleep(0.05)
    queue = demo._queue
    if (event := queue.event_ids_to_events.get(event_id)) is not None:
        await queue.clean_events(event_id=event_id)
        if (messages := queue.pending_messages_per_session.get(event.session_hash)) is not None:
            messages.put_nowait(ProcessCompletedMessage(output={}, success=True, event_id=event_id))
