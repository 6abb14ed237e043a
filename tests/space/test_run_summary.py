"""The three numbers at the end of a run, and names that no artist drew."""

from dataclasses import replace
from pathlib import Path

import pytest

from hf_unlearn import ForgetAdapter
from space.inputs.data_sources import collect_images
from space.inputs.demo_drawings import drawn_as, everyday_names
from space.inputs.run_request import CONTEXT, DRAWINGS, EDIT, RunRequest
from space.services.run_progress import RunResult
from space.views.run_summary import render_summary

ALCOHOL = Path(__file__).parents[2] / "space" / "adapters" / "alcohol"


def test_the_summary_has_the_reports_numbers_and_says_how_many_images_they_stand_on():
    adapter = ForgetAdapter.from_pretrained(ALCOHOL)
    shown = render_summary(RunResult(adapter, "own/x", "done", ()))
    assert f"{100 * adapter.config.metrics['err_for']:.0f} %" in shown
    assert f"of {adapter.report['images']['forget']} images to forget" in shown
    assert "In short lists" in shown
    assert shown.count("<dt>") == 3


def test_figures_of_few_images_or_of_those_the_search_chose_by_say_so():
    adapter = ForgetAdapter.from_pretrained(ALCOHOL)
    images = {**adapter.report["images"], "forget": 1, "retain": 3, "kind": "validation"}
    shown = render_summary(
        RunResult(replace(adapter, report={**adapter.report, "images": images}), "own/x", "done", ())
    )
    for words in ("of 1 image to forget", "of 3 images to keep", "few images", "chose by these same images"):
        assert words in shown


def test_an_evaluation_that_was_skipped_says_so():
    adapter = ForgetAdapter.from_pretrained(ALCOHOL)
    shown = render_summary(RunResult(replace(adapter, report=None), "own/x", "done", (), unjudged="You skipped it."))
    assert "It was not evaluated. You skipped it." in shown


@pytest.mark.parametrize("method", [EDIT, CONTEXT])
def test_drawings_show_a_name_under_another_name_and_what_they_do_not_show_is_said(method):
    asked = RunRequest.parse("embedded", "gun\nabsinthe", "Guitar", DRAWINGS, 300, method=method)
    found = collect_images(asked)
    assert found.names == ("gun", "absinthe", "Guitar")
    assert found.judged.counts() == {"gun": 8, "absinthe": 0, "Guitar": 8}
    assert "water pistol" in found.synonyms["gun"]
    assert found.train is None  # a search can't learn from drawings of a part of its names
    assert ("learned from the names alone" in found.note) == (method == CONTEXT)
    assert "No drawing shows “absinthe”: it is not measured." in found.note


def test_a_drawing_shows_one_name_and_first_of_all_its_first_one():
    assert drawn_as(["gun", "pistol", "water pistol"]) == {"water pistol": "water pistol"}
    assert drawn_as(["pistol", "gun", "zzz"]) == {"pistol": "water pistol"}
    assert "banana" not in everyday_names(["bananas", "Banana"])


def test_the_end_of_a_run_without_images_to_forget_has_the_other_figures():
    adapter = ForgetAdapter.from_pretrained(ALCOHOL)
    report = {**adapter.report, "images": {**adapter.report["images"], "forget": 0}}
    metrics = {**adapter.config.metrics, "err_for": None, "H": None, "short_list_1": None, "short_list_4": None}
    metrics["short_list_9"] = None
    other = replace(adapter, report=report, config=replace(adapter.config, metrics=metrics))
    note = "No drawing shows “lion”: it is not measured."
    shown = render_summary(RunResult(other, "own/x", "done", (), note=note))
    assert "kept</dt>" in shown
    assert "forgotten</dt>" not in shown
    assert "No drawing shows" in shown
    assert "few images" not in shown
