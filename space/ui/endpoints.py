"""Endpoints for clients and agents: pure JSON, each callable with its first argument alone."""

from __future__ import annotations

import json
from html import unescape
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta

from hf_unlearn.adapters.model_card import scope
from hf_unlearn.errors import InputError
from hf_unlearn.models.embedded import EMBEDDED
from space.inputs.json_values import as_switch
from space.inputs.limits import open_image
from space.inputs.run_request import NAMES, RunRequest
from space.services.adapter_store import AdapterStore
from space.services.certainty import SHORT_LISTS, measure
from space.services.classification import classify as score
from space.services.downloads import Downloads
from space.services.examples import suggest_labels
from space.services.instant_edit import InstantEdits
from space.services.recipe import DEFAULT_BREADTH, Recipe
from space.services.run_progress import RunResult
from space.services.runs import Runs
from space.services.whole_words import keep_words
from space.ui.page import HEAVY, INSTANT, RUN, FileImage, in_words, session_of
from space.ui.presence import call_id, waiting
from space.views.adapter_facts import list_neighbours
from space.views.comparison import render_comparison

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

NO_IMAGE = "There is no image: send a file, or an address that begins with http or https."
TO_AGENTS = (
    " An image is an address that begins with http or https, or a data: URL."  # in place of a tool that is absent
)
LIBRARY: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "page"}


def offer_endpoints(store: AdapterStore, runs: Runs, edits: InstantEdits, downloads: Downloads) -> None:
    """Makes all of them; to be called within the page's blocks."""
    _offer_edits(store, edits)
    _offer_runs(runs)
    _offer_adapters(store, downloads)
    _offer_classify(store)


def _offer_edits(store: AdapterStore, edits: InstantEdits) -> None:
    @in_words
    def forget_now(
        forget: str, request: gr.Request, keep: str = "", model: str = EMBEDDED, breadth: float = DEFAULT_BREADTH
    ) -> dict[str, Any]:
        """Makes a CLIP forget names, in about a second: an edit of its text features, from the names alone.

        Images and their features stay as they are, so searching images by image still finds what is forgotten.

        Args:
            forget: names to forget, separated by commas or lines.
            keep: names to protect, the same way; everything else is kept as well.
            model: one of those that /names lists.
            breadth: 0 forgets the names as such, 1 all that lies around them.

        Returns:
            adapter: a key for /classify, /download and /export, valid for an hour after its last use. neighbours: other
            words that change, with the similarity to what they were (1: unchanged). figures: shares from 0 to 1 on test
            drawings, empty where none shows these names. link: the query that opens the page with this edit.
        """
        recipe, _ = edits.merge(Recipe.parse(forget, keep, (), "", model, breadth))
        if (adapter := edits.adapter(recipe)) is None:
            raise InputError("There are no names to forget: write at least one.")
        return {
            "adapter": store.add(adapter, session_of(request)), "model": recipe.base, "forget": list(recipe.forget),
            "keep": list(recipe.keep), "neighbours": _changed(adapter),
            "figures": _figures(edits, recipe), "link": recipe.link(), "note": scope("edit"),
        }  # fmt: skip

    @in_words
    def neighbours(
        forget: str, keep: str = "", model: str = EMBEDDED, breadth: float = DEFAULT_BREADTH
    ) -> list[dict[str, Any]]:
        """Words that would be forgotten along with some names, the most changed first; nothing is kept.

        Args:
            forget: names to forget, separated by commas or lines.
            keep: names to protect, the same way.
            model: one of those that /names lists.
            breadth: 0 forgets the names as such, 1 all that lies around them.
        """
        adapter = edits.adapter(Recipe.parse(forget, keep, (), "", model, breadth))
        return _changed(adapter) if adapter else []

    def names() -> dict[str, list[str]]:
        """The models that /forget_now takes, and the things that test drawings here show. Any other name works, too."""
        return edits.names()

    gr.api(forget_now, api_name="forget_now", **INSTANT)
    gr.api(neighbours, api_name="neighbours", **INSTANT)
    gr.api(names, api_name="names", **LIBRARY)


def _changed(adapter: ForgetAdapter) -> list[dict[str, Any]]:
    from hf_unlearn.edits.neighbours import NEARLY  # loads torch

    found = keep_words(adapter.config.neighbours, adapter.config.base_model)
    return [item for item in found if item["similarity"] < NEARLY]


def _figures(edits: InstantEdits, recipe: Recipe) -> dict[str, Any]:
    if (found := measure(edits, recipe)) is None:
        return {}
    rows = {
        row.name: {
            "wrong_on_forgotten": row.wrong, "right_on_kept": row.right,
            **({} if row.renamed is None else {"found_by_another_name": row.renamed}),
            **{f"named_beside_{k}": share for k, share in zip(SHORT_LISTS, row.named, strict=True)},
        }
        for row in found.rows
    }  # fmt: skip
    return {"drawings_to_forget": found.to_forget, "other_drawings": found.others, **rows}


def _offer_runs(runs: Runs) -> None:

    @in_words
    def forget(
        forget: str, request: gr.Request, keep: str = "", model: str = EMBEDDED, images: str = NAMES,
        budget: int = 300, strength: str = "normal", dataset: str = "", method: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Makes an adapter under which a CLIP forgets names.

        From names alone it is an edit of the text features, made in seconds (more when a model is edited for the first
        time). Images and their features stay as they are: searching images by image still finds what is forgotten.
        With images it is a context, unless said otherwise.

        Args:
            forget: the names to forget, one per line or separated by commas or semicolons.
            keep: names to keep, the same way; an edit needs none, it keeps everything else.
            model: embedded, or a CLIP's id on the Hub.
            images: names (no images), drawings (of the demo), or dataset. A context learns from them; an edit is only
                evaluated on them.
            budget: of a context, candidates to score at most, 50 to 3000; takes a minute or more.
            strength: gentle, normal or strong.
            dataset: a data set's id on the Hub, where images is dataset.
            method: edit, or context (needs the model's scores only); if not given, edit where images is names.

        Returns:
            adapter (a key that /classify takes for an hour), kind, reason, forget, retain, figures, landed (which names
            the forgotten images get now), neighbours (words that an edit changes most), note (the same in words).
        """
        asked = RunRequest.parse(model, forget, keep, images, budget, strength, [], dataset, method)
        *_, made = runs.run(asked, session_of(request), waiting(), call_id())
        assert isinstance(made, RunResult)
        config = made.adapter.config
        others = list_neighbours(made.adapter)
        return {
            "adapter": made.key, "kind": config.kind, "reason": made.reason, "forget": config.forget,
            "retain": config.retain, "figures": config.metrics, "landed": made.confusions,
            "neighbours": config.neighbours,
            "note": " ".join(filter(None, [unescape(others and f"Words nobody asked about: {others}."),
                                           scope(config.kind), unescape(asked.repeats), made.note])),
        }  # fmt: skip

    gr.api(forget, api_name="forget", **RUN)


def _offer_adapters(store: AdapterStore, downloads: Downloads) -> None:
    @in_words
    def download(adapter: str) -> dict[str, Any]:
        """The adapter as a zip of a few kilobytes, for `ForgetAdapter.from_pretrained`.

        Args:
            adapter: one that /adapters lists, user/name on the Hub, or a key from /forget_now or /forget.
        """
        return _file(downloads.zip_adapter(store.get(adapter)))

    @in_words
    def export(adapter: str) -> dict[str, Any]:
        """A stock transformers checkpoint that forgets by itself, as a zip; transformers alone loads it.

        Args:
            adapter: one that /adapters lists, user/name on the Hub, or a key from /forget_now or /forget.
        """
        return _file(downloads.zip_checkpoint(store, store.get(adapter)))

    def adapters() -> list[dict[str, Any]]:
        """The adapters that come with this Space, and which names each forgets and keeps."""
        found, _ = store.list_saved()
        return [
            {"adapter": key, "model": x.config.base_model, "forget": x.config.forget, "retain": x.config.retain}
            for key, x in found.items()
        ]

    gr.api(download, api_name="download", **INSTANT)
    gr.api(export, api_name="export", **HEAVY)
    gr.api(adapters, api_name="adapters", **LIBRARY)


def _file(path: str) -> dict[str, Any]:
    return gr.FileData(path=path).model_dump()


def _offer_classify(store: AdapterStore) -> None:
    """An event, for only a component makes a parameter that takes files."""

    @in_words
    def classify(
        image: str | None, labels: str = "", adapter: str = "", model: str = EMBEDDED, enabled: bool = True
    ) -> dict[str, Any]:
        """Scores of an image by the plain model and with an adapter in effect, and in words what that means.

        Args:
            image: the picture, as a file or its address.
            labels: separated by commas or lines; if not given, the adapter's names, or names of the demo.
            adapter: one that /adapters lists, user/name on the Hub, a key from /forget_now or /forget, or nothing: the
                plain model.
            model: the base model where no adapter says it: embedded, or a CLIP's id on the Hub.
            enabled: false leaves the adapter out.

        Returns:
            before and after: label -> share of the score, from 0 to 1. forgotten: labels that the adapter forgets.
            none_of_these: the share that "none of these" has beside the labels, before and after; empty for a model
                that this Space does not offer. Above a half the model recognizes none of them. message: what all that
                means, as plain text.
        """
        if not image:
            raise InputError(NO_IMAGE)
        if labels == "":
            labels = suggest_labels(store.get(adapter) if adapter else None)
        found = score(store, open_image(image), labels, adapter, model, as_switch(enabled))
        _, _, message = render_comparison(found)
        return {
            "before": dict(zip(found.names, found.before, strict=True)),
            "after": dict(zip(found.names, found.after or (), strict=False)),
            "forgotten": [name for name, gone in zip(found.names, found.forgotten, strict=True) if gone],
            "none_of_these": dict(zip(("before", "after"), found.none_of_these or (), strict=False)),
            "message": _as_text(message),
        }

    with gr.Row(visible=False):
        image = FileImage(label="Image")
        inputs = [image, gr.Textbox(""), gr.Textbox(""), gr.Textbox(EMBEDDED), gr.Checkbox(True)]
        answer = gr.JSON(label="scores")
        gr.Button().click(classify, inputs, answer, api_name="classify", **HEAVY)


def _as_text(markdown: str) -> str:
    """What the page shows as Markdown, for a client that has no page: its names and numbers, no markup."""
    words = markdown.replace("**The adapter is in effect** on the right.", "The adapter is in effect.")
    return unescape(words.replace("**", ""))


def answer_agents_in_json(demo: gr.Blocks) -> None:
    """What an agent reads over MCP is JSON, not Python's notation, and no tool is named that is absent."""
    if (server := demo.mcp_server_obj) is None:
        return
    agents: Any = server
    type(agents)._file_data_tool_description = TO_AGENTS
    written = agents.postprocess_output_data

    def answer(data: Any, root_url: str) -> list[Any]:
        plain = [
            json.dumps(part, ensure_ascii=False)
            if isinstance(part, dict | list) and not is_file_obj_with_meta(part)
            else part
            for part in data
        ]
        return list(written(plain, root_url))

    agents.postprocess_output_data = answer
