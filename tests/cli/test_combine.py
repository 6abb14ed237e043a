"""`hf-unlearn combine` and `without` as a user runs them, on one folder of images."""

import json

import pytest

from hf_unlearn import ForgetAdapter
from hf_unlearn.training.edit_run import DIALS
from tests.support.command_line import hf_unlearn, hf_unlearn_here, write_images


@pytest.fixture(scope="module")
def world(tmp_path_factory, clip_folder):
    """A folder of images and two adapters."""
    top = tmp_path_factory.mktemp("compose")
    write_images(top / "images")
    for name in ("red", "blue"):
        done = hf_unlearn_here(
            "forget", "--model", clip_folder, "--data", top / "images", "--shots", 2, "--max-queries", 20,
            "--forget", name, "--out", top / name,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return top


def common(world, clip_folder):
    return ["--model", clip_folder, "--data", world / "images", "--shots", 2, "--max-queries", 20]


def test_two_are_combined_and_one_class_is_given_back(world, clip_folder):
    done = hf_unlearn(
        "combine", world / "red", world / "blue", *common(world, clip_folder), "--out", world / "both", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((world / "both" / "report.json").read_text())
    both = ForgetAdapter.from_pretrained(world / "both")
    assert (both.config.forget, both.config.retain) == (["red", "blue"], ["green", "grey"])
    assert both.report["images"] == {"kind": "held-out", "forget": 6, "retain": 6, "classes": 4}
    done = hf_unlearn_here("without", world / "both", "blue", *common(world, clip_folder), "--out", world / "back")
    assert done.returncode == 0, done.stderr
    assert "stopped after 20 queries" in done.stdout
    assert f"adapter saved in {world / 'back'}" in done.stdout.replace("\n", "")
    assert ForgetAdapter.from_pretrained(world / "back").config.forget == ["red"]


def test_edits_are_measured_on_all_images_given_since_they_keep_whatever_they_do_not_list(world, tmp_path):
    for name in ("red", "blue"):
        assert hf_unlearn_here("forget", "--forget", name, "--out", tmp_path / name).returncode == 0
    measured = ["--data", world / "images", "--test", world / "images", "--out", tmp_path / "both", "--json"]
    done = hf_unlearn_here("combine", tmp_path / "red", tmp_path / "blue", *measured)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)["images"]
    assert (counts["classes"], counts["forget"]) == (4, counts["retain"])


def test_edits_keep_their_dials_and_where_these_differ_one_line_says_which_is_used(tmp_path):
    for name, breadth in (("rooster", 0.25), ("telephone", 0.75)):
        made = hf_unlearn_here("forget", "--forget", name, "--breadth", breadth, "--out", tmp_path / name)
        assert made.returncode == 0, made.stderr
    pair = "combine", tmp_path / "rooster", tmp_path / "telephone"
    warned = hf_unlearn(*pair, "--out", tmp_path / "both")  # a process of its own: pytest makes warnings errors
    assert (warned.returncode, len(warned.stderr.splitlines())) == (0, 1)
    assert "different values of breadth: 0.25, 0.75; the largest is used" in warned.stderr
    given = hf_unlearn_here(*pair, "--breadth", 0.25, "--strength", 0.4, "--out", tmp_path / "given")
    back = hf_unlearn_here("without", tmp_path / "given", "rooster", "--out", tmp_path / "back")
    assert (given.returncode, given.stderr, back.returncode, back.stderr) == (0, "", 0, "")
    dials = {
        folder: [ForgetAdapter.from_pretrained(tmp_path / folder).config.hyperparameters[dial] for dial in DIALS]
        for folder in ("both", "given", "back")
    }
    assert dials == {"both": [0.75, 0.5], "given": [0.25, 0.4], "back": [0.25, 0.4]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["combine", "red"], "expected two or more adapters to combine, got 1"),
        (["without", "red", "grey"], "expected a class that the adapter forgets, got 'grey'; it forgets: red"),
        (["without", "red", "red"], "nothing would be left to forget"),
        (["combine", "red", "none"], "is no folder here and no Hub id"),
    ],
)
def test_what_makes_no_sense_exits_2_in_one_line_and_writes_nothing(world, clip_folder, words, message):
    command, first, *rest = words
    second = [world / name if command == "combine" else name for name in rest]
    done = hf_unlearn_here(command, world / first, *second, *common(world, clip_folder), "--out", world / "never")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert message in done.stderr
    assert not (world / "never").exists()


def test_a_folder_that_is_no_adapter_is_not_written_to(world, clip_folder):
    done = hf_unlearn_here("combine", world / "red", world / "blue", *common(world, clip_folder), "--out",
                           world / "images")  # fmt: skip
    assert done.returncode == 2
    assert "choose a new or empty folder" in done.stderr


@pytest.mark.parametrize(("command", "words"), [("combine", "no-insects"), ("without", '"beer mug"')])
def test_help_teaches_with_an_example(command, words):
    done = hf_unlearn_here(command, "--help")
    assert done.returncode == 0
    assert "Example: hf-unlearn" in done.stdout
    assert words in done.stdout
