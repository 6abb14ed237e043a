"""What the picture of a report says of its bars."""

import pytest

from hf_unlearn.plots import BARS, LOW, _wanted


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
    assert _wanted(shown) == said
    assert [key for key in shown if key in LOW] == shown[len(shown) - 2 + len(missing) :]
