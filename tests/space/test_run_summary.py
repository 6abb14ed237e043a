"""The three numbers at the end of a run, and names that nobody drew."""

from pathlib import Path

from hf_unlearn import ForgetAdapter
from space.inputs.data_sources import collect_images
from space.inputs.run_request import DRAWINGS, EDIT, RunRequest
from space.views.run_summary import render_summary

ALCOHOL = Path(__file__).parents[2] / "space" / "adapters" / "alcohol"


def test_the_summary_has_the_reports_numbers_and_says_how_many_images_they_stand_on():
    adapter = ForgetAdapter.from_pretrained(ALCOHOL)
    shown = render_summary(adapter)
    assert f"{100 * adapter.config.metrics['err_for']:.0f} %" in shown
    assert f"{adapter.report['images']['forget']} images to forget" in shown


def test_an_edit_of_a_name_without_drawings_is_made_whatever_images_were_chosen():
    request = RunRequest.parse("embedded", "gun", "", DRAWINGS, 300, method=EDIT)
    assert collect_images(request).judged is None
