"""A Space with edits beside contexts: taken, shown, used, measured, downloaded and exported."""

import io
import zipfile
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import torch

from hf_unlearn import AdaptedClip, ClipBlackBox, ForgetAdapter, evaluate, unlearn
from hf_unlearn.adapters.model_card import EDIT_SCOPE, SCOPE
from hf_unlearn.edits import vocabulary
from hf_unlearn.models.text_edit import Gate
from space.inputs.run_request import FILES, NAMES, RunRequest
from space.inputs.task_images import TaskImages
from space.services import run_methods
from space.services.adapter_store import AdapterStore
from space.services.classification import classify
from space.services.downloads import Downloads, zip_files
from space.services.examples import suggest_labels
from space.services.model_cache import ModelCache
from space.services.run_evaluation import RunEvaluation
from space.services.run_progress import RunProgress, RunResult
from space.services.runs import Runs
from space.views import library as cards
from space.views.about import render_about
from space.views.adapter_facts import describe_adapter, describe_status
from space.views.comparison import render_comparison
from space.views.run_progress import render_progress
from space.views.run_report import render_details
from space.views.run_summary import render_summary
from tests.support.edited import adapter_of, edit_adapter, random_edit
from tests.support.images import COLOURS, coloured

LABELS = list(COLOURS)


def render_end(made: RunResult) -> str:
    return render_summary(made) + render_details(made)


@pytest.fixture(scope="module")
def adapter(clip) -> ForgetAdapter:
    made = edit_adapter(clip)
    return made.with_report(evaluate(clip, coloured(4, seed=1), made).content)


@pytest.fixture(scope="module")
def store(clip_folder, adapter, tmp_path_factory) -> AdapterStore:
    root = tmp_path_factory.mktemp("root")
    adapter.save_pretrained(root / "space" / "adapters" / "edit")
    return AdapterStore(root, ModelCache({adapter.config.base_model: clip_folder}))


def sent(folder: Path, adapter: ForgetAdapter) -> list[Path]:
    paths = []
    for name, content in adapter.stored().files().items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    return paths


def test_a_saved_edit_is_in_the_library_and_classifies_as_the_python_library_does(clip, store, adapter):
    key = "space/adapters/edit"
    assert list(store.list_saved()[0]) == [key]
    image = coloured(1)[0]
    before, after, words = render_comparison(classify(store, image, "\n".join(LABELS), key, ""))
    shown = ["red (to be forgotten)", *LABELS[1:]]
    adapted = AdaptedClip(clip, adapter)
    assert [after[name] for name in shown] == pytest.approx(adapted.classify([image], LABELS)[0].tolist(), abs=1e-6)
    with adapted.disabled():
        plain = adapted.classify([image], LABELS)[0].tolist()
    assert [before[name] for name in shown] == pytest.approx(plain, abs=1e-6)
    assert before != after
    assert "The adapter is in effect" in words
    assert EDIT_SCOPE in words
    assert SCOPE not in words
    off = render_comparison(classify(store, image, "\n".join(LABELS), key, "", enabled=False))
    assert off[0] == off[1] == pytest.approx(before)


def test_an_edit_of_a_stranger_is_taken_and_one_far_too_large_is_not(clip, store, adapter, tmp_path):
    key = store.add_upload(sent(tmp_path, adapter), "one")
    assert store.get(key).config == adapter.config
    assert list(store.list_private("one")) == [key]
    large = adapter_of(random_edit(4_096, 65), clip)
    with pytest.raises(ValueError, match="This adapter's edit has rank 65; at width 4096 at most 64 is used"):
        store.add(large, "one")
    (tmp_path / "forget_edit.safetensors").unlink()
    with pytest.raises(ValueError, match=r"config.json beside forget_context.safetensors or forget_edit.safetensors"):
        store.add_upload([tmp_path / "config.json"], "one")


def test_an_edit_is_downloaded_and_exported(clip_folder, store, adapter, tmp_path):
    downloads = Downloads()
    with zipfile.ZipFile(downloads.zip_adapter(adapter)) as archive:
        archive.extractall(tmp_path)
    loaded = ForgetAdapter.from_pretrained(tmp_path / "no-red")
    assert torch.equal(loaded.edit.up, adapter.edit.up)
    with zipfile.ZipFile(io.BytesIO(Path(downloads.zip_checkpoint(store, adapter)).read_bytes())) as archive:
        archive.extractall(tmp_path)
    written = ClipBlackBox(str(tmp_path / "no-red-checkpoint"), template="{}", device="cpu")
    nothing = torch.zeros(1, 0, written.dim)
    plain = ClipBlackBox(clip_folder, template="{}", device="cpu").text_features(nothing, LABELS)[0]
    expected = adapter.edit.linear()(plain)  # a checkpoint's projection carries no gate
    found = written.text_features(nothing, LABELS)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="an edit needs no hardening"):
        downloads.zip_checkpoint(store, adapter, hardened=True)


def test_where_forgotten_images_go_under_an_edit(clip, adapter):
    images = coloured(4, seed=1)
    _, found = RunEvaluation(clip, TaskImages(LABELS, judged=images), ["red"]).judge(adapter)
    scores = AdaptedClip(clip, adapter).classify([images[i] for i in range(4)], LABELS)  # the red ones
    guesses = [LABELS[i] for i in scores.argmax(-1).tolist()]
    assert found == {"red": {name: guesses.count(name) / 4 for name in sorted(set(guesses), key=guesses.index)}}


def test_cards_and_reports_of_an_edit_say_what_it_is(adapter):
    assert "<b>Forgets 1</b>: red" in cards.render_card("user/edit", adapter, of_hub=True)
    text = describe_adapter(adapter)
    assert "**Forgets 1:** red" in text
    assert "**Keeps everything else.**" in text
    page = render_end(RunResult(adapter, "own/x", "done", ()))
    for words in ("image-to-image search still finds", "with the edit in effect", "wrong on forgotten", "0 queries"):
        assert words in page, words
    assert "context left out" not in page


def test_an_edit_that_names_nothing_it_keeps_is_tried_beside_names_of_the_demo(adapter):
    lines = suggest_labels(adapter).splitlines()
    assert lines[0] == "red"
    assert len(lines) > 10
    assert len(set(lines)) == len(lines)
    assert "image-to-image search still finds what is forgotten" in render_about()


# ---- edits made in the Space


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    return Runs(AdapterStore(tmp_path_factory.mktemp("root"), ModelCache()))


def made_of(runs: Runs, *order, **options) -> RunResult:
    *_, last = runs.run(RunRequest.parse("embedded", *order, **options), "one")
    assert isinstance(last, RunResult)
    return last


def test_an_edit_made_here_is_what_the_python_library_makes(runs):
    made = made_of(runs, "beer mug\nwine glass", "guitar", NAMES, 300, "strong")
    plain = ClipBlackBox("embedded", device="cpu")
    expected = unlearn(plain, forget=["beer mug", "wine glass"], keep=["guitar"], strength=0.75).adapter
    assert made.adapter.config.weights_sha256 == expected.config.weights_sha256
    assert made.adapter.config.neighbours == expected.config.neighbours
    assert made.steps == ()
    page = render_end(made)
    for words in ("0 queries", "Words nobody asked about", "also forgotten: ", "Write those to spare", "label mask"):
        assert words in page, words


def test_images_of_ones_own_judge_an_edit_and_all_their_other_classes_are_kept(runs, tmp_path):
    images = coloured(6)
    for number in range(len(images)):
        path = tmp_path / "own" / images.names[images.labels[number]] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images[number].save(path)
    content = {str(path.relative_to(tmp_path)): path.read_bytes() for path in (tmp_path / "own").rglob("*.png")}
    (tmp_path / "own.zip").write_bytes(zip_files(content))
    made = made_of(runs, "red", "", FILES, 50, files=[str(tmp_path / "own.zip")], method="edit")
    assert sorted(made.adapter.config.retain) == ["blue", "green", "grey"]
    assert made.adapter.config.hyperparameters["all_kept"] is True
    assert made.adapter.config.few_shot_digest == {}
    assert made.adapter.report["images"]["kind"] == "test"
    assert set(made.confusions) == {"red"}


def test_what_is_not_judged_says_so_beside_its_neighbours(runs):
    page = unescape(render_end(made_of(runs, "absinthe", "", NAMES, 300)))
    for words in (
        "Words nobody asked about",
        "No drawing shows “absinthe”: it is not",
        "kept",
        "image-to-image search",
    ):
        assert words in page, words


def test_try_shows_neighbours_and_short_lists(adapter):
    figures = {"short_list_1": 0.3, "short_list_4": 0.12, "short_list_9": None}
    words = describe_adapter(replace(adapter, config=replace(adapter.config, metrics=figures)))
    assert "**Words nobody asked about:** also forgotten: scarlet." in words
    assert "**In short lists,** forgotten images that still get their name beside kept ones: 30% with 2 labels, 12% with 5 labels." in words  # fmt: skip  # noqa: E501
    assert "In short lists" not in describe_adapter(replace(adapter, config=replace(adapter.config, metrics={})))
    assert "Words nobody asked about: also forgotten: scarlet." in describe_status(adapter, True)


def test_a_base_in_a_subfolder_is_named_with_it(adapter):
    within = replace(adapter, config=replace(adapter.config, base_model="user/clip", base_subfolder="towers/<b>"))
    for shown in (describe_adapter(within), cards.render_card("user/no-red", within, of_hub=True)):
        assert "(subfolder towers" in unescape(shown)
        assert "<b>)" not in shown


def test_a_strangers_neighbours_are_no_markup(adapter):
    word = "<img src=x onerror=alert(1)> **b** [a](http://b)"
    hostile = [{"word": word + "x" * 400, "of": "red", "similarity": 0.1}]
    one = replace(adapter, config=replace(adapter.config, neighbours=hostile), report=None)
    for text in (
        describe_adapter(one),
        describe_status(one, True),
        render_end(RunResult(one, "own/x", "done", ())),
    ):
        assert "alert" in text
        assert "<img" not in text
        assert "](http" not in text
        assert "x" * 100 not in text


def test_an_edit_is_stopped_while_words_are_read_and_the_next_one_is_made(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path))  # nothing is there yet
    monkeypatch.setattr(vocabulary, "ENCODED_AT_ONCE", 8)
    told = []

    def stopped_at_once() -> None:
        for news in runs.run(RunRequest.parse("embedded", "absinthe", "", NAMES, 300), "one"):
            told.append(news)
            runs.stop("one")

    with pytest.raises(ValueError, match="Stopped before there was anything to keep"):
        stopped_at_once()
    assert not list(tmp_path.rglob("*.safetensors"))
    words = [render_progress(news) for news in told]
    assert not [line for line in words if "queries" in line]
    monkeypatch.setattr(vocabulary, "ENCODED_AT_ONCE", 256)
    assert made_of(runs, "absinthe", "", NAMES, 300).adapter.kind == "edit"
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_an_edit_that_takes_too_long_is_given_up_in_words(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path))
    monkeypatch.setattr(run_methods, "RUN_SECONDS", 0.0)
    with pytest.raises(ValueError, match=r"reads only [\d,]+ of its [\d,]+ texts within the time limit"):
        made_of(runs, "absinthe", "", NAMES, 300)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_two_edits_of_a_model_wait_for_each_other_and_fill_no_memory(runs):
    model = runs.store.models.get("embedded")
    remembered = len(model._texts)
    with model.vocabulary:
        visits = [
            runs.run(RunRequest.parse("embedded", "absinthe", "", NAMES, 300), visitor) for visitor in ("one", "two")
        ]
        first = [next(visit) for visit in visits]
        assert all(isinstance(news, RunProgress) for news in first)
    adapters = [list(visit)[-1].adapter for visit in visits]
    assert adapters[0].config.weights_sha256 == adapters[1].config.weights_sha256
    assert len(model._texts) == remembered
    assert model.watch is None


def test_a_model_whose_features_are_no_numbers_is_refused_in_words(runs, monkeypatch):
    def nowhere(*_, **__):
        raise torch.linalg.LinAlgError("no convergence")

    monkeypatch.setattr("hf_unlearn.edits.by_name.solve_edit", nowhere)
    with pytest.raises(ValueError, match="text features can't be edited"):
        made_of(runs, "absinthe", "", NAMES, 300)
    assert runs.store.models.get("embedded").vocabulary.acquire(timeout=1)
    runs.store.models.get("embedded").vocabulary.release()


def test_a_gate_far_too_large_is_not_taken(store, clip):
    rows, width = 65, 4_096
    gate = Gate(torch.zeros(width), torch.ones(rows, width), torch.zeros(rows))
    with pytest.raises(ValueError, match="edit has a gate of 65 directions; at width 4096 at most 64 are used"):
        store.add(adapter_of(replace(random_edit(width), gate=gate), clip), "one")
