"""A run on the page: its start, its place in the queue, its progress, its end and its stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from hf_unlearn.errors import HfUnlearnError
from space.inputs.run_request import RunRequest
from space.services.adapter_store import AdapterStore
from space.services.downloads import Downloads
from space.services.run_channel import STOPPED_EARLY, StoppedEarly
from space.services.run_progress import RunProgress, RunResult
from space.services.runs import Runs
from space.ui.components import Components, updates
from space.ui.keep_tab import STAY
from space.ui.page import LIGHT, PRIVATE, RUN, RUNS_AT_ONCE, in_words, session_of
from space.ui.presence import leave_line, visitors_before, waiting
from space.views.run_progress import render_line, render_progress
from space.views.run_report import render_details
from space.views.run_summary import render_summary

MEASURES = {"H": "H", "err_for": "forget error", "acc_mem": "retain accuracy"}
COLOURS = {"H": "#2a9d57", "forget error": "#c44e52", "retain accuracy": "#4c72b0"}
START, STOP, SKIP = "Make it forget", "Stop, keep the best so far", "Skip the evaluation"
STOPPING = "Stopping …"
SAY_STOPPING = f"() => ({{__type__: 'update', value: '{STOPPING}', interactive: false}})"
WRITTEN = ("bar", "chart", "summary", "details", "folded", "made", "panel", "zipped", "stop")  # by a run
STARTED = ("start", "stop", "clock", "summary", "details", "folded", "panel")  # what a start writes
OVER = ("start", "stop", "clock", "bar")  # what an end writes
NOTHING_MADE = "This run made nothing."
LINE_SECONDS = 1.0  # how often a visitor in the queue reads their place
TO_SUMMARY = "() => document.querySelector('#run-summary')?.scrollIntoView({block: 'start'})"
TO_PROGRESS = "() => document.querySelector('#run-progress')?.scrollIntoView({block: 'nearest'})"


@dataclass(frozen=True)
class RunView(Components):
    """The components of a run.

    Attributes:
        start, stop: buttons.
        clock: asks for the place in the queue, while the visitor waits.
        bar: progress.
        chart: the figures of every step.
        panel, zipped: what can be done with what was made, and its download.
        summary, details: the end of a run; `folded` holds the details.
        made: the key of what was made.
    """

    start: gr.Button
    stop: gr.Button
    clock: gr.Timer
    bar: gr.HTML
    chart: gr.LinePlot
    panel: gr.Column
    zipped: gr.DownloadButton
    summary: gr.HTML
    folded: gr.Accordion
    details: gr.HTML
    made: gr.BrowserState


def draw_chart() -> gr.LinePlot:
    """The figures of a search, empty and hidden."""
    return gr.LinePlot(
        _frame(()), x="queries", y="%", color="measure", color_map=COLOURS, y_lim=[0, 100], height=340, visible=False,
        label="Best so far: H green, forget error red, retain accuracy blue", x_title="queries",
    )  # fmt: skip


def wire_run(
    runs: Runs, downloads: Downloads, order: Callable[..., RunRequest], inputs: list[Any], on: RunView
) -> gr.events.Dependency:
    """Wires the run, and returns its event.

    Args:
        order: makes a request of the values of `inputs`.
    """

    @in_words
    def run(request: gr.Request, *fields: Any) -> Iterator[list[Any]]:
        before: RunProgress | None = None
        try:
            for news in runs.run(order(*fields), session_of(request), waiting()):
                if isinstance(news, RunResult):
                    yield updates(_end(news, downloads), WRITTEN)
                else:
                    yield updates(_progress(news, before, downloads), WRITTEN)
                    before = news
        except StoppedEarly:  # as its visitor wished: no error
            raise gr.Error(STOPPED_EARLY, visible=False, print_exception=False) from None

    def place(request: gr.Request) -> Any:
        before, waits = visitors_before(RUN["concurrency_id"], session_of(request))
        if not waits:
            return gr.skip()
        return render_line(before, runs.wait(max(0, before - RUNS_AT_ONCE), RUNS_AT_ONCE))

    async def halt(request: gr.Request) -> None:
        runs.stop(session_of(request))
        await leave_line(RUN["concurrency_id"], session_of(request))

    def give_back(key: str, stopping: str, request: gr.Request) -> list[Any]:
        why = STOPPED_EARLY if stopping == STOPPING else NOTHING_MADE
        found = _made_before(runs.store, downloads, key, session_of(request), "made before this run", why)
        return updates(_over() | found, (*OVER, *WRITTEN[1:-1]))

    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PRIVATE}
    started = on.start.click(lambda: updates(_start(), STARTED), None, on.named(STARTED), **at_once)
    started.then(None, js=TO_PROGRESS, **PRIVATE)
    ran = started.then(run, inputs, on.named(WRITTEN), show_progress="hidden", **RUN, **PRIVATE)
    ran.success(None, js=STAY, **PRIVATE)
    ran.success(None, js=TO_SUMMARY, **PRIVATE)
    # `then` would not run after a refusal, and the tab would stay locked
    ran.success(lambda: updates(_over(), OVER), None, on.named(OVER), **at_once)
    ran.failure(give_back, [on.made, on.stop], on.named((*OVER, *WRITTEN[1:-1])), **at_once)
    on.clock.tick(place, None, on.bar, queue=False, show_progress="hidden", **PRIVATE)
    on.stop.click(None, None, on.stop, js=SAY_STOPPING, **PRIVATE)  # at once, without the server
    on.stop.click(halt, None, None, queue=False, **PRIVATE)
    return ran


def bring_back(store: AdapterStore, downloads: Downloads, on: RunView, demo: gr.Blocks) -> None:
    """Shows what a visitor made, when a log-in or they themselves load the page again; the browser has its key."""

    def resume(key: str, request: gr.Request) -> list[Any]:
        found = _made_before(store, downloads, key, session_of(request), "made before this page was loaded")
        return updates(found, WRITTEN)

    demo.load(resume, on.made, on.named(WRITTEN), **{**LIGHT, "show_progress": "hidden"}, **PRIVATE)


def _made_before(
    store: AdapterStore, downloads: Downloads, key: str, session: str, reason: str, words: str = ""
) -> dict[str, Any]:
    """What a visitor made before, by component, under words on the run after it."""
    said = f"<p role='status'><b>{words}</b></p>" if words else ""
    try:
        adapter = store.reclaim(str(key), session)
    except HfUnlearnError:  # none was made, or it is no longer here
        return {"summary": said, "made": ""}
    found = _end(RunResult(adapter, key, reason, ()), downloads)
    return {name: value for name, value in found.items() if name != "bar"} | {"summary": said + found["summary"]}


def _start() -> dict[str, Any]:
    """The beginning of a run, by component: what was made before it is out of sight."""
    return {
        "start": gr.Button(interactive=False), "stop": gr.Button(STOP, interactive=True),
        "clock": gr.Timer(active=True), "summary": "", "details": "", "folded": gr.Accordion(visible=False),
        "panel": gr.Column(visible=False),
    }  # fmt: skip


def _over() -> dict[str, Any]:
    """What is as before a run, by component."""
    return {
        "start": gr.Button(interactive=True), "stop": gr.Button(STOP, interactive=False),
        "clock": gr.Timer(active=False), "bar": "",
    }  # fmt: skip


def _progress(news: RunProgress, before: RunProgress | None, downloads: Downloads) -> dict[str, Any]:
    """What is new, by component; what a visitor may have changed since the news before stays."""
    found: dict[str, Any] = {"bar": render_progress(news)}
    if news.steps:
        found["chart"] = gr.LinePlot(_frame(news.steps), visible=True)
    if news.steps and not (before and before.steps):
        found["folded"] = gr.Accordion(visible=True, open=True)
    if news.made and not (before and before.made):
        found |= {"made": news.made.key, "panel": gr.Column(visible=True)}
        found["zipped"] = gr.DownloadButton(value=downloads.zip_adapter(news.made.adapter))
        found["stop"] = gr.Button(SKIP, interactive=True)
    return found


def _end(made: RunResult, downloads: Downloads) -> dict[str, Any]:
    """The end of a run, by component."""
    return {
        "bar": "", "chart": gr.LinePlot(_frame(made.steps), visible=bool(made.steps)),
        "summary": render_summary(made), "details": render_details(made),
        "folded": gr.Accordion(visible=bool(made.steps or made.adapter.report), open=False),
        "made": made.key, "panel": gr.Column(visible=True),
        "zipped": gr.DownloadButton(value=downloads.zip_adapter(made.adapter)),
    }  # fmt: skip


def _frame(steps: tuple[Any, ...]) -> pd.DataFrame:
    thin = steps[:: max(1, len(steps) // 150)]
    rows = [(step.queries, words, 100 * getattr(step, key)) for step in thin for key, words in MEASURES.items()]
    return pd.DataFrame(rows, columns=["queries", "measure", "%"])
