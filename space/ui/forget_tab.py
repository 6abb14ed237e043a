"""Forget: choose names, watch the run, read the report, take the adapter along."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from hf_unlearn.models.embedded import EMBEDDED
from space.inputs.data_sources import everyday_names
from space.inputs.limits import has_names, parse_labels, plain_text
from space.inputs.run_request import (
    BUDGETS,
    CONTEXT,
    DATASET,
    DRAWINGS,
    EDIT,
    FILES,
    METHODS,
    NAMES,
    SOURCES,
    STRENGTHS,
    RunRequest,
)  # fmt: skip
from space.services.adapter_store import AdapterStore
from space.services.downloads import Downloads
from space.services.run_progress import RunProgress
from space.services.runs import Runs
from space.ui import keep_tab
from space.ui.page import HEAVY, LAST, LIGHT, PRIVATE, RUN, first_line, in_words, session_of
from space.ui.presence import waiting
from space.views import run_report as report
from space.views.library import list_bases
from space.views.run_summary import render_summary

MEASURES = {"H": "H", "err_for": "forget error", "acc_mem": "retain accuracy"}
STOP = "Stop, keep the best so far"
SLOWER = 3.5  # times the estimate at most: measured 49 s for 30 s, 42 s for 13 s
UNDRAWN = "People & Body"  # professions for the audit of groups: too few artists drew them
COLOURS = {"H": "#2a9d57", "forget error": "#c44e52", "retain accuracy": "#4c72b0"}
TO_SUMMARY = "() => document.querySelector('#run-summary')?.scrollIntoView({block: 'start'})"
WHEN = (
    "**You need this tab if a model gives you nothing but scores**, or to judge an edit on images of your own. "
    "Otherwise *Forget now* is faster and better."
)
# hides the boxes whose name lacks the words; ticks stay as they are
SEARCH = """(text) => {
  const words = text.toLowerCase().split(/\\s+/);
  for (const box of document.querySelectorAll('.concepts label')) {
    const name = box.innerText.toLowerCase();
    box.style.display = words.every(word => name.includes(word)) ? '' : 'none';
  }
  return [];
}"""


@dataclass(frozen=True)
class _Form:
    """What a visitor fills in."""

    base: gr.Dropdown
    forget: gr.Textbox
    keep: gr.Textbox
    source: gr.Radio
    budget: gr.Slider
    strength: gr.Radio
    files: gr.File
    dataset: gr.Textbox
    method: gr.Radio

    def inputs(self) -> list[Any]:
        return [
            self.base, self.forget, self.keep, self.source, self.budget, self.strength, self.files, self.dataset,
            self.method,
        ]  # fmt: skip


@dataclass(frozen=True)
class _Buttons:
    start: gr.Button
    stop: gr.Button


def _order(
    base: str, forget: str, keep: str, source: str, budget: float, strength: str, files: str | None, dataset: str,
    method: str,
) -> RunRequest:  # fmt: skip
    """From the values of the form."""
    return RunRequest.parse(base, forget, keep, source, budget, strength, [files] if files else [], dataset, method)


def draw(store: AdapterStore, runs: Runs, downloads: Downloads, made: gr.BrowserState, demo: gr.Blocks) -> gr.Button:
    """Draws and wires the tab; returns the button that opens what was made in Try."""
    gr.Markdown(WHEN)
    with gr.Row():
        with gr.Column(scale=1):
            gr.Markdown("## 1. Names")
            base = gr.Dropdown(
                list_bases(store), value=next(iter(store.models.bases)), allow_custom_value=True, interactive=True,
                label="Base model, or any CLIP's id on the Hub",
            )  # fmt: skip
            forget = gr.Textbox(
                label="Forget",
                lines=4,
                max_lines=6,
                info="Ticked names, or any of yours; one per line, or separated by commas.",
                render=False,
            )
            _draw_concepts(forget)
        with gr.Column(scale=1):
            forget.render()
            form = _draw_form(base, forget)
            gr.Markdown("## 3. Run")
            estimate = gr.Markdown("", elem_classes="note")
            with gr.Row():
                buttons = _Buttons(
                    gr.Button("Make it forget", variant="primary"),
                    gr.Button(STOP, variant="stop", interactive=False),
                )
    bar = gr.HTML()
    chart = gr.LinePlot(
        _frame(()), x="queries", y="%", color="measure", color_map=COLOURS, y_lim=[0, 100], height=340, visible=False,
        label="Best so far: H green, forget error red, retain accuracy blue", x_title="queries",
    )  # fmt: skip
    shown = gr.HTML(elem_classes="report", render=False)
    keeping = keep_tab.draw(store, downloads, shown, made, demo)  # the buttons above the report
    shown.render()
    _wire_form(store, runs, form, estimate)
    _wire_run(runs, downloads, form, buttons, [bar, chart, shown, made, keeping.panel, keeping.zipped])
    return keeping.use


def _draw_concepts(forget: gr.Textbox) -> None:
    """The demo's names, to be ticked."""
    grouped, preset = _concepts()
    search = gr.Textbox(label="Search the categories", placeholder="beer, guitar …", max_lines=1)
    groups = []
    with gr.Group(elem_classes="concepts"):
        for category, names in grouped.items():
            groups.append(gr.CheckboxGroup(names, label=f"Forget: {category}", interactive=True))
    example = gr.Button("Example: alcohol, weapons, gambling, tobacco", size="sm")
    search.change(None, search, None, js=SEARCH, **PRIVATE)
    for group in groups:
        group.select(_tick, forget, forget, **LIGHT, **PRIVATE)
    example.click(
        lambda: (*(gr.CheckboxGroup(value=[n for n in names if n in preset]) for names in grouped.values()),
                 "\n".join(preset)),
        None, [*groups, forget], **LIGHT, **PRIVATE,
    )  # fmt: skip


def _tick(text: str | None, event: gr.SelectData) -> str:
    """Adds or removes the name of one box; what a visitor typed stays."""
    names = parse_labels(text) if text and has_names(text) else []
    others = [name for name in names if name != event.value]
    return "\n".join([*others, event.value] if event.selected else others)


def _draw_form(base: gr.Dropdown, forget: gr.Textbox) -> _Form:
    keep = gr.Textbox(
        label="Keep", lines=3, max_lines=6,
        info="What must not suffer. An edit needs none: it keeps everything else. With your images, leave it empty "
        "to keep all their other classes.",
    )  # fmt: skip
    gr.Markdown("## 2. Images")
    method = gr.Radio([(words, key) for key, words in METHODS.items()], value=EDIT, label="Make it by")
    source = gr.Radio(
        [(words, key) for key, words in SOURCES.items()], value=NAMES, label="Images",
        info="A context learns from them. An edit is only evaluated on them.",
    )  # fmt: skip
    files = gr.File(label="A zip: one folder of images per class", file_types=[".zip"], height=140, visible=False)
    dataset = gr.Textbox(label="Data set on the Hub", placeholder="user/pets", max_lines=1, visible=False)
    with gr.Accordion("Advanced", open=False):
        strength = gr.Radio(list(STRENGTHS), value="normal", label="Strength")
        budget = gr.Slider(*BUDGETS, value=300, step=50, label="Budget, queries", visible=False)
    return _Form(base, forget, keep, source, budget, strength, files, dataset, method)


def _wire_form(store: AdapterStore, runs: Runs, on: _Form, estimate: gr.Markdown) -> None:
    def estimate_time(*fields: Any) -> str:
        try:
            asked = _order(*fields)
            if asked.method == EDIT:
                words = "A few seconds; the first time for a model it reads the model's own words, which takes longer."
            elif asked.base not in store.models.bases:
                words = "The run itself reports how long it takes."
            else:
                seconds = runs.estimate(asked)
                low, high = report.format_duration(seconds), report.format_duration(SLOWER * seconds)
                words = f"{low} to {high} on this machine as it is now, then the report."
            return f"{words} {asked.repeats}".rstrip()
        except (ValueError, OSError) as error:
            return plain_text(first_line(error))

    def way(method: str, source: str, keep: str) -> tuple[Any, Any]:
        """A context has a budget, and needs names to keep."""
        lacking = method == CONTEXT and source in (DRAWINGS, NAMES) and not keep.strip()
        return gr.Slider(visible=method == CONTEXT), "\n".join(everyday_names()) if lacking else gr.skip()

    def bring(kind: str, keep: str | None) -> tuple[Any, ...]:
        """With a visitor's images, the demo's names to keep would only be refused."""
        own, of_demo = kind in (FILES, DATASET), (keep or "") == "\n".join(everyday_names())
        return (
            gr.File(visible=kind == FILES),
            gr.Textbox(visible=kind == DATASET),
            EDIT if kind == NAMES else CONTEXT,
            "" if own and of_demo else gr.skip(),
        )

    on.source.input(bring, [on.source, on.keep], [on.files, on.dataset, on.method, on.keep], **LIGHT, **PRIVATE)
    on.base.input(
        lambda base: (gr.skip(), gr.skip()) if base == EMBEDDED else (NAMES, EDIT), on.base, [on.source, on.method],
        **LIGHT, **PRIVATE,
    )  # fmt: skip
    on.method.change(way, [on.method, on.source, on.keep], [on.budget, on.keep], **LIGHT, **PRIVATE)
    gr.on(
        [on.forget.change, on.keep.change, on.source.input, on.method.change, on.budget.release, on.files.change],
        estimate_time, on.inputs(), estimate, **LAST, **HEAVY, **PRIVATE, show_progress="hidden",
    )  # fmt: skip


def _wire_run(runs: Runs, downloads: Downloads, form: _Form, on: _Buttons, results: list[Any]) -> None:
    """Args: results: where progress, chart, report, key, panel and download go."""

    @in_words
    def run(request: gr.Request, *fields: Any) -> Iterator[tuple[Any, ...]]:
        for news in runs.run(_order(*fields), session_of(request), waiting()):
            line = gr.LinePlot(_frame(news.steps), visible=bool(news.steps))
            if isinstance(news, RunProgress):
                yield report.render_progress(news), line, "", "", gr.Column(visible=False), gr.skip()
            else:
                download = gr.DownloadButton(value=downloads.zip_adapter(news.adapter))
                yield (
                    "",
                    line,
                    render_summary(news.adapter) + report.render_report(news),
                    news.key,
                    gr.Column(visible=True),
                    download,
                )

    def halt(request: gr.Request) -> gr.Button:
        runs.stop(session_of(request))
        return gr.Button("Stopping after this step …", interactive=False)

    buttons = [on.start, on.stop]
    started = on.start.click(
        lambda: (gr.Button(interactive=False), gr.Button(interactive=True)), None, buttons, **PRIVATE
    )
    ran = started.then(run, form.inputs(), results, **RUN, **PRIVATE)
    ran.success(None, js=keep_tab.STAY, **PRIVATE)
    ran.success(None, js=TO_SUMMARY, **PRIVATE)
    for over in (ran.success, ran.failure):  # `then` would not run after a refusal, and the tab would stay locked
        over(
            lambda: (gr.Button(interactive=True), gr.Button(STOP, interactive=False), ""), None, [*buttons, results[0]],
            **PRIVATE,
        )  # fmt: skip
    on.stop.click(halt, None, on.stop, queue=False, **PRIVATE)


def _frame(steps: tuple[Any, ...]) -> pd.DataFrame:
    thin = steps[:: max(1, len(steps) // 150)]
    rows = [(step.queries, words, 100 * getattr(step, key)) for step in thin for key, words in MEASURES.items()]
    return pd.DataFrame(rows, columns=["queries", "measure", "%"])


def _concepts() -> tuple[dict[str, list[str]], list[str]]:
    """All names by category; the example's names to forget."""
    from hf_unlearn.demo import emoji_tasks as demo

    grouped: dict[str, list[str]] = defaultdict(list)
    for name, concept in sorted(demo.concepts().items()):
        if concept["category"] != UNDRAWN:
            grouped[concept["category"]].append(name)
    return dict(sorted(grouped.items())), demo.tasks()["moderation"][0]["forget"]
