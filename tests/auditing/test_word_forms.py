"""Other forms of a name, by rule."""

import pytest

from hf_unlearn.auditing.word_forms import list_misspellings, list_phrases, make_plural


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("slot machine", "slot machines"), ("bow and arrow", "bows and arrows"), ("glass of wine", "glasses of wine"),
        ("bottle with popping cork", "bottles with popping cork"), ("clinking glasses", "clinking glass"),
        ("cherry", "cherries"), ("berries", "berry"), ("box", "boxes"), ("glass", "glasses"), ("key", "keys"),
    ],
)  # fmt: skip
def test_plurals_follow_the_rule(name, other):
    assert make_plural(name) == other


def test_misspellings_are_always_the_same():
    assert list_misspellings("beer mug") == ["beer umg", "ber mug", "beeer mug", "beermug"]
    assert list_misspellings("7") == []


def test_a_name_is_put_inside_phrases_with_its_article_and_number():
    phrases = list_phrases("apple")
    assert "a man holding an apple" in phrases
    assert "two apples" in phrases
    assert "a red apple" in phrases
    assert "two scissors" in list_phrases("scissors")
    assert all("{}" not in phrase for phrase in phrases)
