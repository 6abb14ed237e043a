"""Bounds of what Gradio's queue keeps of calls that are over."""

from __future__ import annotations

import os

import gradio as gr

LOGGED = 256  # calls
LOG_SETTINGS = ("GRADIO_ANALYTICS_MAX_EVENTS", "GRADIO_ANALYTICS_CACHE_FREQUENCY")  # its length, calls per summary


def bound_call_log() -> None:
    """Shortens the log of the next queue. By default it has 10,000 calls, and each call summarizes all of them."""
    for variable in LOG_SETTINGS:
        os.environ.setdefault(variable, str(LOGGED))


def forget_sessions(demo: gr.Blocks) -> None:
    """Removes sessions without a call or an unread answer from a table that Gradio never shortens.

    To be called on the event loop, where no call is half queued.
    """
    queue = demo._queue
    for session, calls in list(queue.pending_event_ids_session.items()):
        running = not calls.isdisjoint(queue.event_ids_to_events)
        unread = bool(calls) and session in queue.pending_messages_per_session
        if not running and not unread:
            del queue.pending_event_ids_session[session]
