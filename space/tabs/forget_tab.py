"""Forget: choose names, watch the run, read the report, take the adapter along."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from space import report
from space.limits import plain_text
from space.material import BUDGETS, DATASET, DRAWINGS, FILES, NAMES, SOURCES, STRENGTHS, Order
from space.models import EMBEDDED
from space.outbox import Outbox
from space.page import HEAVY, LAST, LIGHT, PRIVATE, RUN, first_line, in_words, session_of
from space.shelf import Shelf
from space.tabs import keep_tab
from space.tabs.try_tab import bases_of
from space.training import Made, Progress, Runs

MEASURES = {"H": "H", "err_for": "forget error", "acc_mem": "retain accuracy"}
UNDRAWN = "People & Body"  # professions for the audit of groups: too few artists drew them
COLOURS = {"H": "#2a9d57", "forget error": "#c44e52", "retain accuracy": "#4c72b0"}
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
    base: gr.Dropdown
    forget: gr.Textbox
    keep: gr.Textbox
    source: gr.Radio
    budget: gr.Slider
    strength: gr.Radio
    files: gr.File
    dataset: gr.Textbox

    def inputs(self) -> list[Any]:
        return [
            self.base, self.forget, self.keep, self.source, self.budget, self.strength, self.files, self.dataset
        ]  # fmt: skip


def draw(shelf: Shelf, runs: Runs, outbox: Outbox, made: gr.BrowserState, demo: gr.Blocks) -> gr.Textbox:
    """Draws and wires the tab; the key in `made` arrives in the textbox returned when Try is to use it."""
    everyday, grouped, preset = _concepts()
    with gr.Row():
        with gr.Column(scale=1):
            base = gr.Dropdown(
                bases_of(shelf), value=next(iter(shelf.models.bases)), allow_custom_value=True, interactive=True,
                label="Base model, or any CLIP's id on the Hub",
            )  # fmt: skip
            search = gr.Textbox(label="Search the categories", placeholder="beer, guitar …", max_lines=1)
            groups = []
            with gr.Group(elem_classes="concepts"):
                for category, names in grouped.items():
                    groups.append(gr.CheckboxGroup(names, label=f"Forget: {category}"))
            example = gr.Button("Example: alcohol, weapons, gambling, tobacco", size="sm")
        with gr.Column(scale=1):
            forget = gr.Textbox(
                label="Forget", lines=4, max_lines=6, info="Ticked names, or any of yours; one per line."
            )
            keep = gr.Textbox(
                "\n".join(everyday), label="Keep", lines=4, max_lines=6,
                info="What must not suffer. With images of your own, leave it empty to keep all their other classes.",
            )  # fmt: skip
            source = gr.Radio([(words, key) for key, words in SOURCES.items()], value=DRAWINGS, label="Learn from")
            files = gr.File(
                label="A zip: one folder of images per class", file_types=[".zip"], height=140, visible=False
            )
            dataset = gr.Textbox(label="Data set on the Hub", placeholder="user/pets", max_lines=1, visible=False)
            strength = gr.Radio(list(STRENGTHS), value="normal", label="Strength")
            budget = gr.Slider(*BUDGETS, value=300, step=50, label="Budget, queries")
            estimate = gr.Markdown("", elem_classes="note")
            with gr.Row():
                start = gr.Button("Make it forget", variant="primary")
                stop = gr.Button("Stop, keep the best so far", variant="stop", interactive=False)
    form = _Form(base, forget, keep, source, budget, strength, files, dataset)
    bar = gr.HTML()
    chart = gr.LinePlot(
        _frame(()), x="queries", y="%", color="measure", color_map=COLOURS, y_lim=[0, 100], height=340, visible=False,
        label="Best so far on validation images: H green, forget error red, retain accuracy blue", x_title="queries",
    )  # fmt: skip
    shown = gr.HTML(elem_classes="report")
    keeping = keep_tab.draw(shelf, outbox, shown, made, demo)

    def order(
        base: str, forget: str, keep: str, source: str, budget: float, strength: str, files: str | None, dataset: str
    ) -> Order:
        return Order.of(base, forget, keep, source, budget, strength, [files] if files else [], dataset)

    @in_words
    def run(
        base: str, forget: str, keep: str, source: str, budget: float, strength: str, files: str | None, dataset: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
        asked = order(base, forget, keep, source, budget, strength, files, dataset)
        for news in runs.run(asked, session_of(request)):
            if isinstance(news, Progress):
                line = gr.LinePlot(_frame(news.steps), visible=bool(news.steps))
                yield report.progress_bar(news), line, "", "", gr.Column(visible=False), gr.skip()
            else:
                download = gr.DownloadButton(value=outbox.adapter(news.adapter))
                yield "", _frame(news.steps), report.full_report(news), news.key, gr.Column(visible=True), download

    def tell(
        base: str, forget: str, keep: str, source: str, budget: float, strength: str, files: str | None, dataset: str
    ) -> str:
        try:
            asked = order(base, forget, keep, source, budget, strength, files, dataset)
            if asked.base not in shelf.models.bases:
                return "How long it takes is told once it runs."
            return f"About {report.duration(runs.estimate(asked))} on this machine as it is now, then the report."
        except (ValueError, OSError) as error:
            return plain_text(first_line(error))

    def halt(request: gr.Request) -> None:
        runs.stop(session_of(request))

    search.change(None, search, None, js=SEARCH, **PRIVATE)
    ticked: dict[str, Any] = {"outputs": forget, **LAST, **LIGHT, **PRIVATE}
    for group in groups:
        group.input(lambda *names: "\n".join(name for part in names for name in part), groups, **ticked)
    example.click(
        lambda: (*(gr.CheckboxGroup(value=[n for n in names if n in preset]) for names in grouped.values()),
                 "\n".join(preset)),
        None, [*groups, forget], **LIGHT, **PRIVATE,
    )  # fmt: skip
    source.input(
        lambda kind: (gr.File(visible=kind == FILES), gr.Textbox(visible=kind == DATASET)), source, [files, dataset],
        **LIGHT, **PRIVATE,
    )  # fmt: skip
    base.input(
        lambda base: gr.Radio(value=DRAWINGS if base == EMBEDDED else NAMES), base, source,
        **LIGHT, **PRIVATE,
    )  # fmt: skip
    gr.on(
        [forget.change, keep.change, source.input, budget.release, files.change], tell, form.inputs(), estimate,
        **LAST, **HEAVY, **PRIVATE, show_progress="hidden",
    )  # fmt: skip
    buttons = [start, stop]
    started = start.click(lambda: (gr.Button(interactive=False), gr.Button(interactive=True)), None, buttons, **PRIVATE)
    told = [bar, chart, shown, made, keeping.panel, keeping.zipped]
    ran = started.then(run, form.inputs(), told, **RUN, **PRIVATE)
    ran.then(None, js=keep_tab.STAY, **PRIVATE)
    ran.then(lambda: (gr.Button(interactive=True), gr.Button(interactive=False), ""), None, [*buttons, bar], **PRIVATE)
    stop.click(halt, None, None, queue=False, **PRIVATE)
    _offer(shelf, runs)
    return keeping.chosen


def _offer(shelf: Shelf, runs: Runs) -> None:
    """The endpoint for clients and agents."""

    @in_words
    def forget(
        forget: str, keep: str, request: gr.Request, model: str = "embedded", images: str = DRAWINGS,
        budget: int = 300, strength: str = "normal", dataset: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Makes an adapter under which a CLIP forgets names and keeps others; takes a minute or more.

        Args:
            forget: the names to forget, one per line or separated by commas.
            keep: the names to keep, the same way.
            model: embedded, or a CLIP's id on the Hub.
            images: what to learn from: drawings (of the demo), names (no images), or dataset.
            budget: candidates to score at most, 50 to 3000.
            strength: gentle, normal or strong.
            dataset: a data set's id on the Hub, where images is dataset.

        Returns:
            adapter (a key that /classify takes for an hour), reason, forget, retain, figures, landed (which names the
            forgotten images get now).
        """
        asked = Order.of(model, forget, keep, images, budget, strength, [], dataset)
        *_, made = runs.run(asked, session_of(request))
        assert isinstance(made, Made)
        config = made.adapter.config
        return {
            "adapter": made.key, "reason": made.reason, "forget": config.forget, "retain": config.retain,
            "figures": config.metrics, "landed": made.landed,
        }  # fmt: skip

    gr.api(forget, api_name="forget", **RUN)


def _frame(steps: tuple[Any, ...]) -> pd.DataFrame:
    thin = steps[:: max(1, len(steps) // 150)]
    rows = [(step.queries, words, 100 * getattr(step, key)) for step in thin for key, words in MEASURES.items()]
    return pd.DataFrame(rows, columns=["queries", "measure", "%"])


def _concepts() -> tuple[list[str], dict[str, list[str]], list[str]]:
    """Names kept unless said otherwise; all names by category; the example's names to forget."""
    from hf_unlearn import demo

    grouped: dict[str, list[str]] = defaultdict(list)
    for name, concept in sorted(demo.concepts().items()):
        if concept["category"] != UNDRAWN:
            grouped[concept["category"]].append(name)
    task = demo.tasks()["moderation"][0]
    kept = [name for name in task["names"] if name not in task["forget"]]
    return kept[::2], dict(sorted(grouped.items())), task["forget"]
