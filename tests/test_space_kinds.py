"""A Space with edits beside contexts: taken, shown, used, measured, downloaded and exported."""

import io
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import COLOURS, coloured
from edited import adapter_of, edit_adapter, random_edit

from hf_unlearn import AdaptedClip, ClipBlackBox, ForgetAdapter, evaluate
from hf_unlearn.adapter_files import files_of
from hf_unlearn.card import EDIT_SCOPE, SCOPE
from space import cards, compare, report
from space.material import Material
from space.models import Models
from space.outbox import Outbox
from space.shelf import Shelf
from space.training import Made, landed

LABELS = list(COLOURS)


@pytest.fixture(scope="module")
def adapter(clip) -> ForgetAdapter:
    made = edit_adapter(clip)
    return made.with_report(evaluate(clip, coloured(4, seed=1), made).content)


@pytest.fixture(scope="module")
def shelf(clip_folder, adapter, tmp_path_factory) -> Shelf:
    root = tmp_path_factory.mktemp("root")
    adapter.save_pretrained(root / "space" / "adapters" / "edit")
    return Shelf(root, Models({adapter.config.base_model: clip_folder}))


def sent(folder: Path, adapter: ForgetAdapter) -> list[Path]:
    paths = []
    for name, content in files_of(adapter.weights, adapter.config, adapter.report).items():
        paths.append(folder / name)
        paths[-1].write_bytes(content)
    return paths


def test_a_saved_edit_is_in_the_library_and_classifies_as_the_python_library_does(clip, shelf, adapter):
    key = "space/adapters/edit"
    assert list(shelf.library()[0]) == [key]
    image = coloured(1)[0]
    before, after, words = compare.classify(shelf, image, "\n".join(LABELS), key, "")
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
    off = compare.classify(shelf, image, "\n".join(LABELS), key, "", enabled=False)
    assert off[0] == off[1] == pytest.approx(before)


def test_an_edit_of_a_stranger_is_taken_and_one_far_too_large_is_not(clip, shelf, adapter, tmp_path):
    key = shelf.upload(sent(tmp_path, adapter), "one")
    assert shelf.adapter(key).config == adapter.config
    assert list(shelf.own("one")) == [key]
    large = adapter_of(random_edit(4_096, 65), clip)
    with pytest.raises(ValueError, match="This adapter's edit has rank 65; at width 4096 at most 64 is used"):
        shelf.keep(large, "one")
    (tmp_path / "forget_edit.safetensors").unlink()
    with pytest.raises(ValueError, match=r"config.json beside forget_context.safetensors or forget_edit.safetensors"):
        shelf.upload([tmp_path / "config.json"], "one")


def test_an_edit_is_downloaded_and_exported(clip_folder, shelf, adapter, tmp_path):
    outbox = Outbox()
    with zipfile.ZipFile(outbox.adapter(adapter)) as archive:
        archive.extractall(tmp_path)
    loaded = ForgetAdapter.from_pretrained(tmp_path / "no-red")
    assert torch.equal(loaded.edit.up, adapter.edit.up)
    with zipfile.ZipFile(io.BytesIO(Path(outbox.export(shelf, adapter)).read_bytes())) as archive:
        archive.extractall(tmp_path)
    written = ClipBlackBox(str(tmp_path / "no-red-checkpoint"), template="{}", device="cpu")
    expected = adapter.load_base(clip_folder, device="cpu").text_features(LABELS)
    found = written.text_features(torch.zeros(1, 0, written.dim), LABELS)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="an edit needs no hardening"):
        outbox.export(shelf, adapter, hardened=True)


def test_where_forgotten_images_go_under_an_edit(clip, adapter):
    images = coloured(4, seed=1)
    found = landed(clip, Material(LABELS, judged=images), adapter)
    scores = AdaptedClip(clip, adapter).classify([images[i] for i in range(4)], LABELS)  # the red ones
    guesses = [LABELS[i] for i in scores.argmax(-1).tolist()]
    assert found == {"red": {name: guesses.count(name) / 4 for name in sorted(set(guesses), key=guesses.index)}}


def test_cards_and_reports_of_an_edit_say_what_it_is(adapter):
    assert "<b>Forgets 1</b>: red" in cards.card("user/edit", adapter, of_hub=True)
    text = compare.describe(adapter)
    assert "**Forgets 1:** red" in text
    assert "**Keeps everything else.**" in text
    page = report.full_report(Made(adapter, "own/x", "done", ()))
    for words in ("image-to-image search still finds", "with the edit in effect", "wrong on forgotten", "0 queries"):
        assert words in page, words
    assert "context left out" not in page


def test_an_edit_that_names_nothing_it_keeps_is_tried_beside_names_of_the_demo(adapter):
    lines = compare.labels_of(adapter).splitlines()
    assert lines[0] == "red"
    assert len(lines) > 10
    assert len(set(lines)) == len(lines)
    assert "image-to-image search still finds what is forgotten" in cards.about()
