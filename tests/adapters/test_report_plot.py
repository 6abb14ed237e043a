"""What the picture of a report says of its bars."""

import pytest

from hf_unlearn.adapters.report_plot import BARS, LOW, _describe_goal, _draw_rows
from hf_unlearn.drawing import default_figures


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ((), "the last two should be low, all others high"),
        (("recoverability",), "the last should be low, all others high"),
        (("short_list_4",), "the last should be low, all others high"),
        (LOW, "all should be high"),
    ],
)
def test_the_title_speaks_of_the_bars_that_are_there(missing, said):
    shown = [key for key in BARS if key not in missing]
    assert _describe_goal(shown) == said
    assert [key for key in shown if key in LOW] == shown[len(shown) - 2 + len(missing) :]


@pytest.mark.parametrize("names", [["edit"], [f"a very long name of a row, number {n} of many" for n in range(9)]])
def test_the_legend_touches_no_bar_and_stays_in_the_picture(names):
    rows = [{"name": name, "queries": 0, "H": 1.0, "err_for": 1.0, "acc_mem": 1.0} for name in names]
    with default_figures(names) as figure_of:
        figure = figure_of(figsize=(9.0, 7.5), layout="constrained")
        top, _ = figure.subplots(2, 1)
        _draw_rows(top, rows, "test")
        figure.draw_without_rendering()
        legend, bars = top.get_legend().get_window_extent(), top.get_window_extent()
    assert legend.y1 < bars.y0
    assert legend.x0 > 0
    assert legend.x1 < figure.bbox.width
