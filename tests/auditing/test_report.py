"""What an audit prints and writes."""

import json

import pytest
from PIL import Image

from hf_unlearn.auditing import report
from hf_unlearn.auditing.report_markdown import escape
from tests.support.command_line import strict_json


def test_the_json_has_verdict_metrics_and_attacks(of_mask):
    content = strict_json(of_mask.to_json())
    assert content["verdict"] == "fail"
    assert {"rows", "harm", "feature_probe"} <= set(content["metrics"])
    assert [row["name"] for row in content["metrics"]["rows"]] == ["zero-shot", "label-mask", "proximal"]
    names_of = [attack["name"] for attack in content["attacks"]]
    assert len(names_of) == len(set(names_of))
    for attack in content["attacks"]:
        assert {"name", "access", "judged", "question", "right", "low", "high", "plain", "known"} <= set(attack)
    assert content["ledger"]["queries"] > 50


def test_saving_writes_whole_files_and_pictures_that_open(of_mask, tmp_path):
    of_mask.save(tmp_path / "a" / "b")
    files = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert files == {"audit.json", "audit.md", "attacks.png", "harm.png", "relearning.png"}
    assert strict_json((tmp_path / "a" / "b" / "audit.json").read_text()) == of_mask.content
    for name in ("attacks.png", "harm.png", "relearning.png"):
        with Image.open(tmp_path / "a" / "b" / name) as picture:
            picture.load()


def test_a_save_that_breaks_leaves_no_audit_behind(of_mask, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(report, "render_markdown", broken)
    with pytest.raises(OSError, match="disk full"):
        of_mask.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_explains_itself_and_claims_no_erasure(of_mask):
    for text in (str(of_mask), of_mask.to_markdown()):
        flat = " ".join(text.split())
        assert "suppression behind a prompt, not erasure" in flat
        assert "named" in flat
        assert "erased" not in flat
        assert "nan" not in flat.lower().split()
        for word in ("synonyms", "crimson", "relearning", "zero-shot", "label-mask"):
            assert word in flat


@pytest.mark.parametrize(
    "name", ["<script>x</script>", "[a](http://evil.example)", "a|b", "![x](y)", "www.evil.example", "a\n# b", "`c`"]
)
def test_names_are_no_markup_in_markdown(name):
    text = escape(name)
    assert not set(text.replace("&#", "")) & set("<>[]|!`\n*_:")
    assert "www." not in text
    assert "#" not in text.replace("&#", "")


def test_a_class_name_with_markup_is_printed_as_it_is(of_mask):
    text = of_mask.to_json().replace('"crimson"', '"[red]cr|<b>[/x]"').replace('"proximal"', '"[/odd|method]"')
    result = type(of_mask)(json.loads(text))
    for odd in ("[red]cr|<b>[/x]", "[/odd|method]"):
        assert odd in str(result)
        assert odd not in result.to_markdown()
