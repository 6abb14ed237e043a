"""The adapters that come with the Space: whole, small, of the embedded CLIP, and doing what they say."""

import json
import re
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import torch

from benchmarks import make_adapters as maker
from hf_unlearn import ClipBlackBox, ForgetAdapter
from hf_unlearn.adapters.model_card import DUAL_USE, scope
from hf_unlearn.adapters.storage import CONTEXT, EDIT, FILES
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.evaluation.metrics import accuracies, harmonic_mean
from space.services.adapter_store import AdapterStore
from space.services.model_cache import ModelCache
from space.services.picture_strip import Cell
from space.services.pictures import find_picture
from space.services.recipe import read_link
from space.services.verdict import Guess
from space.views import first_screen
from space.views.kinds import render_pairs
from space.views.library import render_card, render_library

FOLDER = Path(__file__).parents[2] / "space" / "adapters"
NAMES = sorted(maker.FORGET)


@pytest.fixture(scope="module")
def embedded() -> ClipBlackBox:
    return ClipBlackBox(device="cpu")


def test_all_that_the_script_makes_are_there_and_no_others():
    assert FOLDER.is_dir(), "no adapters; python benchmarks/make_adapters.py makes them"
    assert sorted(path.name for path in FOLDER.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_is_whole_and_small(name):
    sizes = {path.name: path.stat().st_size for path in (FOLDER / name).iterdir()}
    assert set(sizes) == set(FILES) - {EDIT if name in maker.BY_SCORES else CONTEXT}
    assert sizes["report.png"] < 40 * 1024
    assert sum(sizes.values()) - sizes["report.png"] < 120 * 1024


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_lists_what_the_script_lists_and_its_card_and_report_are_about_it(name):
    adapter = ForgetAdapter.from_pretrained(FOLDER / name)
    config = adapter.config
    assert config.kind == ("context" if name in maker.BY_SCORES else "edit")
    assert json.loads((FOLDER / name / "config.json").read_text())["format_version"] == 2
    assert bool(config.neighbours) == (config.kind == "edit")
    assert sorted(config.forget) == sorted(maker.FORGET[name])
    assert sorted(config.retain) == sorted({*maker.EVERYDAY, *maker.MORE})
    assert set(config.forget) | set(config.retain) <= set(demo.concepts())
    own = [row for row in adapter.report["rows"] if row.get("weights_sha256") == config.weights_sha256]
    assert len(own) == 1
    measured = ("H", "err_for", "acc_mem", "entropy", "bypass_acc", "collateral", "short_list_1", "short_list_4")
    assert all(own[0][key] is not None for key in measured)
    card = (FOLDER / name / "README.md").read_text()
    for words in (
        scope(config.kind),
        DUAL_USE,
        *config.forget,
        *config.retain,
        "ForgetAdapter.from_pretrained",
        "label-mask",
    ):
        assert words in card


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_is_of_the_embedded_clip_and_forgets_as_its_report_says(embedded, name):
    adapter = ForgetAdapter.from_pretrained(FOLDER / name)
    adapter.check_base(embedded)
    assert adapter.config.base_model == "embedded"
    test = maker.material(maker.FORGET[name]).test
    images, labels = embedded.add_images(test), torch.tensor(test.labels)
    forget = torch.tensor([label in adapter.config.forget for label in test.names])
    nothing = torch.zeros(1, 0, embedded.dim)
    (wrong, kept), (wrong_before, kept_before) = (
        [float(value) for value in accuracies(box.log_scores(nothing, images, test.names)[0], labels, forget)]
        for box in (embedded.under(adapter), embedded.with_template(adapter.config.template))
    )
    assert adapter.config.metrics["err_for"] == pytest.approx(wrong, abs=0.02)
    assert adapter.config.metrics["acc_mem"] == pytest.approx(kept, abs=0.02)
    assert wrong > wrong_before + 0.2
    assert harmonic_mean(wrong, kept) > 0.5
    if adapter.kind == "edit":
        assert wrong > 0.95
        assert kept >= kept_before
        assert adapter.config.metrics["short_list_4"] < 0.01
        assert adapter.config.metrics["collateral"] > -0.02


def test_the_lists_are_disjoint_where_they_should_be():
    kept = {*maker.EVERYDAY, *maker.MORE}
    parts = [set(maker.FORGET[name]) for name in NAMES if not name.startswith("moderation")]
    assert not kept & set().union(*parts)
    assert sum(map(len, parts)) == len(set().union(*parts))
    assert set(maker.FORGET["moderation"]) <= set().union(*parts)
    assert maker.FORGET["moderation-by-scores"] == maker.FORGET["moderation"]


@pytest.mark.parametrize("name", NAMES)
def test_no_artist_of_a_class_both_trains_and_judges(name):
    sets = maker.drawn(maker.FORGET[name])
    for label in maker.FORGET[name]:
        artists = [{artist for artist, _ in found[label]} for found in sets]
        assert all(artists)
        assert sum(map(len, artists)) == len(set().union(*artists))


def test_the_reports_are_plain_json_and_hold_no_path_of_the_maker():
    for path in FOLDER.glob("*/*.json"):
        text = path.read_text()
        json.loads(text)
        assert str(Path.home()) not in text
        assert "/work" not in text


def test_a_context_is_shown_beside_the_edit_of_the_same_names():
    found = {name: ForgetAdapter.from_pretrained(FOLDER / name) for name in NAMES}
    shown = render_pairs(found)
    assert shown.count("<table>") == 1
    rows = dict(re.findall(r'<th scope="row">([^<]+)</th>(.*?)</tr>', shown))
    assert list(rows) == ["before", "label mask", "edit", "context"]
    for name, row in (("moderation", "edit"), ("moderation-by-scores", "context")):
        for key in ("err_for", "acc_mem", "short_list_4", "synonym_err", "collateral"):
            assert f"<td>{round(100 * found[name].config.metrics[key])}</td>" in rows[row]
    assert f"{found['moderation-by-scores'].config.ledger['queries']:,} queries" in rows["context"]
    assert render_pairs({"weapons": found["weapons"]}) == ""


def test_what_a_screen_reader_says_of_a_link_or_a_picture_begins_with_or_holds_what_is_seen():
    library = render_library(AdapterStore(FOLDER.parents[1], ModelCache()))
    links = re.findall(r'<a [^>]*aria-label="([^"]*)"[^>]*>([^<]*)</a>', library)
    assert len(links) > 20
    assert all(said.startswith(f"{seen}: ") for said, seen in links)
    assert len({said for said, _ in links}) == len(links)
    assert '<th scope="col"></th>' not in library
    picture = find_picture("water-pistol-twemoji")
    cell = Cell(picture, Guess("gun", 0.9), Guess("key", 0.8), True, True)
    strip = first_screen._cell(cell, False)
    assert "aria-label" not in strip
    assert "water pistol (twemoji): before gun, after key" in " ".join(re.sub("<[^>]*>", "", strip).split())


def test_a_card_of_an_edit_has_pictures_a_link_to_the_first_screen_and_a_line_that_works_outside_a_checkout():
    adapter = ForgetAdapter.from_pretrained(FOLDER / "alcohol")
    card = render_card("space/adapters/alcohol", adapter, of_hub=False)
    assert "pictures/beer-mug-twemoji.png" in card
    assert "ForgetAdapter.from_pretrained(&quot;alcohol&quot;)  # the folder in the zip" in card
    assert 'href="adapters/space/adapters/alcohol.zip"' in card
    on_hub = render_card("user/alcohol", adapter, of_hub=True)
    assert "from_pretrained(&quot;user/alcohol&quot;)</code>" in on_hub
    assert ".zip" not in on_hub
    link = unescape(re.search(r'href="(\?forget=[^"]+)"', card)[1])
    recipe, problems = read_link(dict(parse_qsl(link.removeprefix("?"))), ["embedded"])
    assert (sorted(recipe.forget), sorted(recipe.keep), problems) == (
        sorted(adapter.config.forget), sorted(adapter.config.retain), [],
    )  # fmt: skip
