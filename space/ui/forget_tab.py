"""Scores only: choose names and images; the run is in `run_events`, what follows it in `keep_tab`."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import gradio as gr

from hf_unlearn.errors import HfUnlearnError
from hf_unlearn.models.embedded import EMBEDDED
from space.error_words import first_line
from space.inputs.demo_drawings import everyday_names
from space.inputs.limits import has_names, parse_labels, plain_text
from space.inputs.run_request import (
    BUDGETS,
    CONTEXT,
    DRAWINGS,
    EDIT,
    METHODS,
    SOURCES,
    STRENGTHS,
    RunRequest,
)  # fmt: skip
from space.services.adapter_store import AdapterStore
from space.services.downloads import Downloads
from space.services.runs import Runs
from space.services.time_estimate import Seconds
from space.ui import keep_tab
from space.ui.components import Components
from space.ui.page import HEAVY, LAST, LIGHT, PRIVATE, RUN, RUNS_AT_ONCE
from space.ui.presence import visitors_before
from space.ui.run_events import LINE_SECONDS, START, STOP, RunView, bring_back, draw_chart, wire_run
from space.views.durations import format_range
from space.views.library import list_bases
from space.views.run_progress import count_visitors

UNDRAWN = "People & Body"  # professions for the audit of groups: too few artists drew them
NO_WAIT = Seconds(0.0, 0.0)
WHEN = (
    "**You need this tab if a model gives you nothing but scores**: a search finds a context with them. "
    "It also makes an edit of any CLIP on the Hub, or evaluates one on your images. "
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


# in the browser, so that no answer of the server overtakes what a visitor does next:
BRING = """(source) => [
  {__type__: 'update', visible: source === 'files'}, {__type__: 'update', visible: source === 'dataset'},
]"""
NAMES_ALONE = "(base, method, source) => base === %s ? [method, source] : ['edit', 'names']"
SHOW_BUDGET = "(method) => ({__type__: 'update', visible: method === 'context'})"
# a context without images of the visitor's needs names to keep
FILL_KEEP = """(method, source, keep) => {
  const everyday = %s.join('\\n'), own = source === 'files' || source === 'dataset';
  if (own || method === 'edit') return keep === everyday ? '' : keep;
  return method === 'context' && !keep.trim() ? everyday : keep;
}"""


ASKED = ("base", "forget", "keep", "source", "budget", "strength", "dataset", "method")  # all but the zip
DROPPED = "The page was loaded again during a run, which ended it. The form has what you asked for, except for a zip."
# what a run was asked for outlives a page that is loaded again, in this tab of the browser
NOTE_RUN = """(...asked) => {
  sessionStorage.setItem('asked', JSON.stringify(asked));
  sessionStorage.setItem('running', 'yes');
}"""
NOTE_END = "() => sessionStorage.removeItem('running')"
RECALL = """() => {
  const asked = JSON.parse(sessionStorage.getItem('asked') || 'null'), same = {__type__: 'update'};
  const dropped = sessionStorage.getItem('running');
  sessionStorage.removeItem('running');
  if (!asked) return Array(10).fill(same);
  const [base, forget, keep, source, budget, strength, dataset, method] = asked;
  return [base, forget, keep, source, {...same, value: budget, visible: method === 'context'}, strength,
    {...same, value: dataset, visible: source === 'dataset'}, method, {...same, visible: source === 'files'},
    dropped ? %s : same];
}"""


@dataclass(frozen=True)
class _Form(Components):
    """What a visitor fills in, in the order of `_order`."""

    base: gr.Dropdown
    forget: gr.Textbox
    keep: gr.Textbox
    source: gr.Radio
    budget: gr.Slider
    strength: gr.Radio
    files: gr.File
    dataset: gr.Textbox
    method: gr.Radio


def _order(
    base: str, forget: str, keep: str, source: str, budget: float, strength: str, files: str | None, dataset: str,
    method: str,
) -> RunRequest:  # fmt: skip
    """From the values of the form."""
    return RunRequest.parse(base, forget, keep, source, budget, strength, [files] if files else [], dataset, method)


@dataclass(frozen=True)
class ForgetTab:
    """What other tabs refer to.

    Attributes:
        base: the list of base models.
        use: the button that opens what was made in Try.
    """

    base: gr.Dropdown
    use: gr.Button


def draw(store: AdapterStore, runs: Runs, downloads: Downloads, made: gr.BrowserState, demo: gr.Blocks) -> ForgetTab:
    """Draws and wires the tab."""
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
                start = gr.Button(START, variant="primary")
                stop = gr.Button(STOP, variant="stop", interactive=False)
    bar, clock = gr.HTML(elem_id="run-progress"), gr.Timer(LINE_SECONDS, active=False)
    summary, details = (gr.HTML(elem_classes="report", render=False) for _ in range(2))
    keeping = keep_tab.draw(store, downloads, made, demo)  # the buttons above the report
    summary.render()
    with gr.Accordion("Details", open=False, visible=False) as folded:
        chart = draw_chart()
        details.render()
    view = RunView(start, stop, clock, bar, chart, keeping.panel, keeping.zipped, summary, folded, details, made)
    _wire_form(store, runs, form, estimate)
    ran = wire_run(runs, downloads, _order, form.named(_Form.names()), view)
    bring_back(store, downloads, view, demo)
    start.click(None, form.named(ASKED), None, js=NOTE_RUN, **PRIVATE)
    for over in (ran.success, ran.failure):
        over(None, js=NOTE_END, **PRIVATE)
    shown = f"<p class='run' role='status'>{DROPPED}</p>"
    demo.load(None, None, [*form.named((*ASKED, "files")), bar], js=RECALL % json.dumps(shown), **PRIVATE)
    return ForgetTab(base, keeping.use)


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
        "\n".join(everyday_names()), label="Keep", lines=3, max_lines=6,
        info="What must not suffer. An edit needs none: it keeps everything else. With your images, leave it empty "
        "to keep all their other classes.",
    )  # fmt: skip
    gr.Markdown("## 2. Images")
    method = gr.Radio([(words, key) for key, words in METHODS.items()], value=CONTEXT, label="Make it by")
    source = gr.Radio(
        [(words, key) for key, words in SOURCES.items()], value=DRAWINGS, label="Images",
        info="A context learns from them. An edit is only evaluated on them.",
    )  # fmt: skip
    files = gr.File(label="A zip: one folder of images per class", file_types=[".zip"], height=140, visible=False)
    dataset = gr.Textbox(label="Data set on the Hub", placeholder="user/pets", max_lines=1, visible=False)
    with gr.Accordion("Advanced", open=False):
        strength = gr.Radio(list(STRENGTHS), value="normal", label="Strength")
        budget = gr.Slider(*BUDGETS, value=300, step=50, label="Budget, queries")
    return _Form(base, forget, keep, source, budget, strength, files, dataset, method)


def _wire_form(store: AdapterStore, runs: Runs, on: _Form, estimate: gr.Markdown) -> None:
    def estimate_time(*fields: Any) -> str:
        try:
            asked = _order(*fields)
            if asked.method == EDIT:
                words = "A few seconds; the first time for a model it reads the model's own words, which takes longer."
            else:
                words = _estimate(runs, asked)
            return f"{words} {asked.repeats}".rstrip()
        except HfUnlearnError as error:
            return plain_text(first_line(error))

    fields: list[Any] = [on.method, on.source, on.keep]
    on.source.input(None, on.source, [on.files, on.dataset], js=BRING, **PRIVATE)
    for changed in (on.source.input, on.method.change):
        changed(None, fields, on.keep, js=FILL_KEEP % json.dumps(everyday_names()), **PRIVATE)
    on.base.input(None, [on.base, *fields[:2]], fields[:2], js=NAMES_ALONE % json.dumps(EMBEDDED), **PRIVATE)
    on.method.change(None, on.method, on.budget, js=SHOW_BUDGET, **PRIVATE)
    gr.on(
        [on.forget.change, on.keep.change, on.source.input, on.method.change, on.budget.release, on.files.change],
        estimate_time, on.named(_Form.names()), estimate, **LAST, **HEAVY, **PRIVATE, show_progress="hidden",
    )  # fmt: skip


def _estimate(runs: Runs, asked: RunRequest) -> str:
    """How long a search will take, the visitors before it included."""
    seconds = runs.estimate(asked)
    if seconds is None:
        return "The run itself reports how long it takes."
    before, _ = visitors_before(RUN["concurrency_id"])
    wait = runs.wait(max(0, before - RUNS_AT_ONCE), RUNS_AT_ONCE) if before >= RUNS_AT_ONCE else NO_WAIT
    line = f" {count_visitors(before).capitalize()} before you." if before >= RUNS_AT_ONCE else ""
    if wait is None:
        return f"Likely {format_range(seconds)} once it begins.{line}"
    return f"Likely {format_range(seconds + wait)} at this machine's present speed.{line}"


def _concepts() -> tuple[dict[str, list[str]], list[str]]:
    """All names by category; the example's names to forget."""
    from hf_unlearn.demo import emoji_tasks as demo

    grouped: dict[str, list[str]] = defaultdict(list)
    for name, concept in sorted(demo.concepts().items()):
        if concept["category"] != UNDRAWN:
            grouped[concept["category"]].append(name)
    return dict(sorted(grouped.items())), demo.tasks()["moderation"][0]["forget"]
