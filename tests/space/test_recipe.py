"""What a link carries, and what the first screen takes from strangers."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_unlearn.errors import InputError
from space.services.recipe import EXAMPLE, MAX_NAMES, OWN_PHOTO, Recipe, parse_names, read_link
from space.ui.links import choose_tab, read_query
from space.views.how_to_use import http_code

NAMES = st.lists(st.text("abcdé猫 -'&?#%+", min_size=1, max_size=12).filter(str.strip), max_size=5)


@settings(deadline=None)
@given(NAMES, NAMES, NAMES, st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_a_link_brings_the_whole_recipe_back(forget, keep, labels, breadth):
    recipe = Recipe.parse(forget, keep, labels, "bomb-twemoji", "user/clip", breadth)
    query = dict(parse_qsl(recipe.link().removeprefix("?"), keep_blank_values=True))
    assert read_link(query, ["user/clip"]) == (recipe, [])


def test_a_photo_is_not_part_of_a_link():
    assert "image" not in Recipe(("gun",), picture=OWN_PHOTO).link()
    assert EXAMPLE.link().startswith("?forget=gun,bomb,dagger")


def test_every_broken_part_of_a_link_is_named_and_the_others_are_used():
    query = {"forget": "gun, knife", "breadth": "wide", "labels": ",".join(map(str, range(MAX_NAMES + 1)))}
    query |= {"model": "user/other", "image": "../secret"}
    recipe, problems = read_link(query, ["embedded"])
    assert recipe == Recipe(("gun", "knife"))
    assert [problem.split(":")[0] for problem in problems] == ["labels", "image", "model", "breadth"]


def test_a_name_to_forget_is_not_protected():
    recipe = Recipe(("gun",)).protecting("beer").adding("beer")
    assert (recipe.forget, recipe.keep) == (("gun", "beer"), ())


@pytest.mark.parametrize("value", [7, None, {"a": 1}, [["gun"]], ["a" * 201], [f"{n}" for n in range(MAX_NAMES + 1)]])
def test_names_that_are_none_are_refused(value):
    with pytest.raises(InputError):
        parse_names(value, "names to forget")


@pytest.mark.parametrize("parts", [{"breadth": 2}, {"breadth": True}, {"base": 3}, {"picture": "a" * 300}])
def test_other_values_are_checked(parts):
    with pytest.raises(InputError):
        Recipe.parse("gun", **parts)


@pytest.mark.parametrize(
    ("query", "tab"),
    [
        ({}, "now"), ({"forget": "gun"}, "now"), ({"tab": "forget"}, "forget"), ({"tab": "nothing"}, "now"),
        ({"adapter": "space/adapters/alcohol"}, "try"), ({"model": "user/clip"}, "try"), ({"model": "embedded"}, "now"),
        ({"tab": "library", "adapter": "a"}, "library"), ({"model": "user/clip", "forget": "gun"}, "now"),
    ],
)  # fmt: skip
def test_old_and_new_links_open_the_tab_that_can_show_them(query, tab):
    assert choose_tab(query, ["embedded"]) == tab


def test_an_empty_list_of_words_survives_a_log_in():
    assert read_query(None, "?forget=&keep=pen") == {"forget": "", "keep": "pen"}


def test_the_line_of_curl_carries_model_and_breadth_where_they_are_not_the_defaults():
    assert '{"data": ["gun", ""]}' in http_code(Recipe(("gun",)))
    assert '{"data": ["gun", "pen", "embedded", 0.9]}' in http_code(Recipe(("gun",), ("pen",), breadth=0.9))
