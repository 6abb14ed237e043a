"""The three numbers at the end of a run, and names that nobody drew."""

from dataclasses import replace
from pathlib import Path

from hf_unlearn import ForgetAdapter
from space.inputs.data_sources import collect_images
from space.inputs.run_request import DRAWINGS, EDIT, RunRequest
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


def test_an_edit_of_a_name_without_drawings_is_made_whatever_images_were_chosen():
    request = RunRequest.parse("embedded", "gun", "", DRAWINGS, 300, method=EDIT)
    assert collect_images(request).judged is None
