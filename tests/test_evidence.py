"""Forgetting by names only: stand-ins are what they claim, and what is learned from them holds for real images."""

import json

import pytest
import torch
from typer.testing import CliRunner

from hf_unlearn import ClipBlackBox, ForgetAdapter, demo, evaluate, evidence, unlearn
from hf_unlearn.cli import app

NAMES = ("red", "green", "blue", "yellow")


def test_stand_ins_are_of_unit_length_and_as_many_as_asked_for(clip):
    made = evidence.from_names(clip, NAMES, shots=5, seed=0)
    assert len(made.handle) == 2 * 5 * len(NAMES)
    assert torch.bincount(made.train).tolist() == torch.bincount(made.validation).tolist() == [5] * len(NAMES)
    torch.testing.assert_close(made.handle.features.norm(dim=1), torch.ones(len(made.handle)))
    assert made.images is None


def test_the_seed_alone_decides_them(clip):
    first, same, other = (evidence.from_names(clip, NAMES, 3, seed).handle.features for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.allclose(first, other)


def test_training_and_validation_have_templates_of_their_own():
    assert not set(evidence.TEMPLATES) & set(evidence.HELD_OUT)


def test_the_plain_model_takes_a_stand_in_for_its_class():
    model = ClipBlackBox()
    names = demo.task("emoji10").names
    made = evidence.from_names(model, names, shots=16, seed=0)
    guess = model.zero_shot(made.handle, names).argmax(-1)
    assert float((guess == torch.cat([made.train, made.validation])).float().mean()) > 0.9


def test_what_is_learned_without_images_holds_for_images():
    model, task = ClipBlackBox(), demo.task("emoji10", 1)
    result = unlearn(model, classes=task.names, forget=task.forget, max_queries=150, patience=None, progress=False)
    zero_shot, _, ours = evaluate(model, task.test, result.adapter).rows
    assert ours["err_for"] > zero_shot["err_for"] + 0.3
    assert ours["H"] > zero_shot["H"] + 0.3
    config = result.adapter.config
    assert config.ledger["image_encodings"] == 0
    assert config.hyperparameters["images"] == "none: names only"
    assert config.few_shot_digest == {}


def test_a_box_that_gives_scores_only_refuses_in_plain_words():
    class ScoresOnly:
        model_id = "user/space"

    with pytest.raises(ValueError, match=r"user/space answers with scores only.*give labelled images"):
        evidence.from_names(ScoresOnly(), NAMES, shots=2, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected labelled images, or the names of all classes"),
        ({"classes": NAMES, "validation": "some"}, "a run by names only validates on stand-ins"),
        ({"classes": ("red", "red")}, "red"),
        ({"classes": ("green", "blue")}, "'red'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(clip, arguments, message):
    with pytest.raises(ValueError, match=message):
        unlearn(clip, forget=["red"], n_ctx=2, **arguments)


def test_images_and_classes_exclude_each_other(clip, images):
    with pytest.raises(ValueError, match="classes are for a run by names only"):
        unlearn(clip, images, classes=images.names, forget=["red"])


def test_a_names_only_run_is_taken_up_again_where_it_was(clip, tmp_path):
    arguments = {"classes": NAMES, "forget": ["red"], "max_queries": 60, "n_ctx": 2, "shots": 2, "progress": False}
    whole = unlearn(clip, **arguments)
    unlearn(clip, **{**arguments, "max_queries": 30}, run_dir=tmp_path / "run")
    resumed = unlearn(clip, **arguments, run_dir=tmp_path / "run")
    assert torch.equal(resumed.adapter.context, whole.adapter.context)


def test_the_command_forgets_by_a_file_of_names(clip_folder, tmp_path):
    listed, target = tmp_path / "names.txt", tmp_path / "adapter"
    listed.write_text("\n".join(NAMES) + "\n\n")
    command = ["forget", "--model", clip_folder, "--classes", str(listed), "--forget", "red", "--out", str(target)]
    done = CliRunner().invoke(app, [*command, "--max-queries", "30", "--n-ctx", "2"])
    assert done.exit_code == 0, done.output
    assert ForgetAdapter.from_pretrained(target).config.forget == ["red"]
    assert "names only" in (target / "README.md").read_text()
    assert json.loads((target / "config.json").read_text())["hyperparameters"]["images"] == "none: names only"


def test_the_command_wants_images_or_names(clip_folder, tmp_path):
    done = CliRunner().invoke(app, ["forget", "--model", clip_folder, "--forget", "red", "--out", str(tmp_path / "a")])
    assert "--classes FILE to forget by names only" in str(done.exception)
