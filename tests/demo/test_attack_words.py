"""What the demo gives an audit: words, groups, drawings."""

import json

from hf_unlearn.demo import emoji_tasks as demo


def test_the_demos_attack_words_are_for_its_forget_classes_and_new():
    forget = demo.tasks()["moderation"][0]["forget"]
    for kind, table in demo.attack_words().items():
        assert set(table) == set(forget), kind
        for name, words in table.items():
            assert words
            assert not {word.lower() for word in words} & set(demo.concepts()[name]["names"]), (kind, name)


def test_the_shipped_groups_are_ten_professions_in_three_groups():
    groups = json.loads(demo.PROFESSIONS.read_text())
    assert sorted(groups.values()) == ["man"] * 10 + ["person"] * 10 + ["woman"] * 10
    assert set(groups) <= set(demo.concepts())
    assert all(demo.drawings(name, "test") for name in groups)


def test_every_image_of_the_demo_knows_its_drawing():
    names_of = ("beer mug", "key")
    numbers = demo.drawing_numbers(names_of, "test", demo.JUDGED)
    assert len(numbers) == len(demo.augmented(names_of, "test", demo.JUDGED, 0))
    assert set(numbers) == set(range(len(demo.drawings("key", "test"))))
    by = demo.by_artist(names_of, "test")
    assert sum(map(len, by.values())) == len(demo.plain(names_of, "test"))
