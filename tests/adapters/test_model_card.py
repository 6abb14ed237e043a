"""The card: its front matter, its facts, and that nothing in it is a stranger's markup."""

import json
import re
from dataclasses import asdict, replace

import pytest
from huggingface_hub import ModelCard

from hf_unlearn import ForgetAdapter, evaluate, unlearn
from hf_unlearn.adapters.card_figures import LEAKS, leaks_of
from hf_unlearn.adapters.model_card import EDIT_SCOPE, SCOPE, render_card
from tests.support.edited import edit_adapter
from tests.support.hub_server import front_matter
from tests.support.images import coloured

NASTY = "</a><script>alert(1)</script> [x](http://e.vil) `tick` | # *b* $$x$$ \u202egnp\x1b[31m\n---\ntags: [evil]"


@pytest.fixture(scope="module")
def judged(clip) -> ForgetAdapter:
    adapter = unlearn(clip, coloured(8), forget=["red", "blue"], max_queries=20, shots=4, progress=False).adapter
    report = evaluate(
        clip, coloured(6, seed=1), adapter, validation=coloured(6, seed=2), synonyms={"red": ["scarlet", "crimson"]}
    )
    return adapter.with_report(report.content)


@pytest.fixture(scope="module")
def edited(clip) -> ForgetAdapter:
    near = [{"word": f"word {i}", "of": "red", "similarity": 1 - i / 100} for i in range(50)]
    adapter = edit_adapter(clip, forget=["red", "blue"], neighbours=near)
    report = evaluate(clip, coloured(6, seed=1), adapter, validation=coloured(6, seed=2))
    return adapter.with_report(report.content)


def card_of(adapter: ForgetAdapter, repo_id: str | None = "user/name", **config) -> str:
    return render_card({**asdict(adapter.config), **config}, adapter.report, repo_id)


def test_the_front_matter_says_what_the_hub_files_it_under(judged):
    card = ModelCard(
        card_of(judged, base_model="openai/clip", base_revision="0" * 40, license="mit", datasets=["user/pets"])
    )
    data = card.data.to_dict()
    assert data["base_model"] == "openai/clip"
    assert data["base_model_relation"] == "adapter"
    assert data["library_name"] == "hf_unlearn"
    assert data["pipeline_tag"] == "zero-shot-image-classification"
    assert (data["license"], data["datasets"]) == ("mit", ["user/pets"])
    assert "hf_unlearn" in data["tags"]


def test_every_metric_of_the_adapters_own_row_is_in_the_model_index(judged):
    own = judged.report["rows"][-1]
    expected = {
        key: round(value, 6)
        for key, value in own.items()
        if isinstance(value, float) and key not in ("queries", "synonyms")
    }
    results = ModelCard(card_of(judged)).data.eval_results
    assert {result.metric_type: result.metric_value for result in results} == expected
    assert {"H", "err_for", "acc_mem", "entropy", "recoverability", "top5_leak"} <= set(expected)
    assert {result.dataset_name for result in results} == {"test images, 12 forget and 12 retain"}


@pytest.mark.parametrize("base", ["embedded", "clip0"])
def test_a_base_that_is_not_on_the_hub_is_left_out_of_the_front_matter(judged, base):
    data = front_matter(card_of(judged, base_model=base, base_revision=None))
    assert "base_model" not in data
    assert "base_model_relation" not in data


def test_without_a_report_there_is_no_model_index_and_the_card_says_so(judged):
    card = card_of(replace(judged, report=None))
    data = front_matter(card)
    assert "model-index" not in data
    assert "model_name" not in data
    assert "It was not evaluated" in card


def test_the_card_says_what_it_took_and_how_to_use_it(judged):
    card = card_of(judged)
    config = judged.config
    for fact in (
        "**Forgets:** red, blue", "**Keeps:** green, grey", "- seed: 0", "- shots: 4", "queries 20",
        config.few_shot_digest["sha256"], config.few_shot_digest["salt"], 'from_pretrained("user/name")',
        "not erasure", "weapon detector", "![before and after](report.png)",
    ):  # fmt: skip
        assert fact in card
    for name in ("zero-shot", "label-mask", "proximal"):
        assert re.search(rf"^\| {name} \|", card, re.MULTILINE)
    assert 'from_pretrained("path/to/this/folder")' in card_of(judged, repo_id=None)


def test_the_card_says_in_words_where_it_leaks_beside_the_label_mask(judged):
    card, own, mask = card_of(judged), judged.report["rows"][-1], judged.report["rows"][1]
    shown = [key for key in LEAKS if own.get(key) is not None]
    assert {"recoverability", "top5_leak", "look_alike", "bypass_acc"} <= set(shown)
    for key in shown:
        assert LEAKS[key].format(f"{100 * own[key]:.1f}") in card
    assert f"A label mask: {100 * mask['recoverability']:.1f}." in card
    missing = [key for key in ("recoverability", "forget_detect", "synonym_err") if own.get(key) is None]
    assert "forget_detect" in missing
    assert "What was not measured may leak." in card


@pytest.mark.parametrize("kind", ["context", "edit"])
def test_the_code_of_the_card_runs(judged, edited, clip_folder, tmp_path, kind):
    (edited if kind == "edit" else judged).save_pretrained(tmp_path / "adapter")
    card = (tmp_path / "adapter" / "README.md").read_text()
    code = re.search("```python\n(.*?)```", card, re.DOTALL)[1]
    code = code.replace("path/to/this/folder", str(tmp_path / "adapter")).replace("load_base()", "load_base(BASE)")
    code = code.replace('"…", "…"', '"red", "green"')
    names = {"BASE": clip_folder, "images": list(coloured(1))}
    exec(code, names)
    assert names["probs"].shape == (4, 2)
    if kind == "edit":
        assert names["texts"].shape == (2, 24)


def test_the_card_of_an_edit_says_what_it_does_and_what_it_leaves_alone(edited):
    card = card_of(edited)
    for fact in (
        "An edit of a CLIP's text features, of rank 3, that makes it forget 2 names.", "**Forgets:** red, blue",
        "**Keeps:** everything else", "**Prompt:** any", EDIT_SCOPE, "image-to-image search still finds",
        "the public base model has everything back", "Method edit, in closed form, 0 queries", "weapon detector",
        "breadth: 0.5", "the edit in effect", "adapter.edit_vectors(vectors)",
    ):  # fmt: skip
        assert fact in card, fact
    for words in (SCOPE, "token embeddings", "forward calls", "context"):
        assert words not in card, words
    assert "**Keeps:** green" in card_of(edited, retain=["green"])


def test_the_card_names_the_words_that_an_edit_changes_most_first(edited):
    line = next(line for line in card_of(edited).splitlines() if "Changes most besides" in line)
    assert "word 49 (0.51, near red), word 48 (0.52, near red)" in line
    assert "word 10 (0.90, near red) and 10 more; the number is a cosine of before and after, 1 is unchanged" in line
    assert "word 9 " not in line
    assert "Changes most besides" not in card_of(edited, neighbours=[])


def test_both_kinds_say_how_often_forgotten_images_are_named_in_short_lists(judged, edited):
    for adapter in (judged, edited):
        card, own = card_of(adapter), adapter.report["rows"][-1]
        assert "| named beside 1 | beside 4 | beside 9 |" in card
        row = next(line for line in card.splitlines() if line.startswith(f"| {adapter.config.method} |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[5:8] == [f"{100 * own['short_list_1']:.1f}", "–", "–"]
        row = {**own, "short_list_4": 0.123}
        report = {**adapter.report, "rows": [*adapter.report["rows"][:-1], row]}
        told = render_card(asdict(adapter.config), report)
        assert "Beside four random kept names 12.3 % of the forgotten images still get their own name." in told


def test_the_bypass_of_an_edit_is_said_in_its_own_words(edited):
    own = f"{100 * edited.report['rows'][-1]['bypass_acc']:.1f}"
    assert leaks_of("edit")["bypass_acc"].format(own) in card_of(edited)
    assert "With the context left out" not in card_of(edited)
    assert set(leaks_of("edit")) == set(LEAKS)


def test_nothing_that_a_stranger_wrote_of_neighbours_is_markup(edited):
    card = card_of(edited, neighbours=[{"word": NASTY, "of": NASTY, "similarity": -0.5}])
    body = card.split("\n---\n", 1)[1]
    line = next(line for line in body.splitlines() if "Changes most besides" in line)
    assert "(-0.50, near" in line
    assert not re.search(r"(?<!\\)<|(?<!\\)\[x", line)
    assert not [char for char in card if not char.isprintable() and char != "\n"]
    assert front_matter(card)["tags"] == ["hf_unlearn", "unlearning", "clip"]


@pytest.mark.parametrize("field", ["forget", "template", "base_model", "method", "library_version", "hyperparameters"])
def test_nothing_that_a_stranger_wrote_is_markup_or_front_matter(judged, field):
    value = {
        "forget": [NASTY], "template": NASTY + "{}", "hyperparameters": {NASTY: NASTY, "x": [NASTY]},
    }.get(field, NASTY)  # fmt: skip
    card = card_of(judged, **{field: value})
    body = card.split("\n---\n", 1)[1]
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", re.sub("```python.*?```", "", body, flags=re.DOTALL))
    assert not re.search(r"(?<!\\)<", outside)
    assert not re.search(r"(?<!\\)\[x", outside)
    assert not [char for char in card if not char.isprintable() and char != "\n"]
    assert front_matter(card)["tags"] == ["hf_unlearn", "unlearning", "clip"]
    assert not re.search("^(---|tags)", body, re.MULTILINE)


def test_nothing_that_a_strangers_report_says_is_markup_or_front_matter(judged):
    report = json.loads(json.dumps(judged.report))
    report["images"]["kind"] = report["rows"][0]["name"] = NASTY
    card = render_card(asdict(judged.config), report, "user/name")
    assert front_matter(card)["tags"] == ["hf_unlearn", "unlearning", "clip"]
    assert "\n---\n" not in card.split("\n---\n", 1)[1]
    assert not re.search(r"(?<!\\)<", card.split("\n---\n", 1)[1])
    assert not [char for char in card if not char.isprintable() and char != "\n"]
