"""Forgetting by names only: stand-ins are what they claim, and what is learned from them holds for real images."""

import hashlib
import json
from collections import Counter

import pytest
import torch
from typer.testing import CliRunner

from hf_unlearn import ClipBlackBox, ForgetAdapter, LabeledImages, evaluate, unlearn
from hf_unlearn.cli.main import app
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.training import training_data
from hf_unlearn.training.workers import Workers
from tests.support.images import coloured

NAMES = ("red", "green", "blue", "yellow")


def test_stand_ins_are_of_unit_length_and_as_many_as_asked_for(clip):
    made = training_data.make_stand_ins(clip, NAMES, shots=5, seed=0)
    assert len(made.handle) == 2 * 5 * len(NAMES)
    assert torch.bincount(made.train).tolist() == torch.bincount(made.validation).tolist() == [5] * len(NAMES)
    torch.testing.assert_close(made.handle.features.norm(dim=1), torch.ones(len(made.handle)))
    assert made.images is None


def test_the_seed_alone_decides_them(clip):
    first, same, other = (training_data.make_stand_ins(clip, NAMES, 3, seed).handle.features for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.allclose(first, other)


def test_training_and_validation_have_templates_of_their_own():
    assert not set(training_data.TEMPLATES) & set(training_data.HELD_OUT_TEMPLATES)


def test_the_plain_model_takes_a_stand_in_for_its_class():
    model = ClipBlackBox()
    names = demo.task("emoji10").names
    made = training_data.make_stand_ins(model, names, shots=16, seed=0)
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


@pytest.fixture(scope="module")
def unsorted():
    """Embedded CLIP, a task, its training images without their labels among images of other things."""
    task = demo.task("emoji10", 1)
    items = task.train.items[::4] + task.unlisted_validation.items[:40]
    images = LabeledImages(items, (0,) * len(items), ("anything",))
    model = ClipBlackBox()
    return model, task, images, training_data.select_confident(Workers(), model, images, task.names, shots=2, seed=0)


def test_images_the_model_is_sure_of_take_the_place_of_stand_ins(unsorted):
    model, task, _, made = unsorted
    stand_ins = training_data.make_stand_ins(model, task.names, shots=2, seed=0).handle.features
    replaced = (made.handle.features != stand_ins).any(1)
    guessed = model.zero_shot(made.handle, task.names).exp()[replaced]
    labels = torch.cat([made.train, made.validation])[replaced]
    assert replaced.sum() == len(made.images) > 2 * len(task.names)
    assert (guessed.argmax(1) == labels).all()
    assert (guessed.max(1).values > training_data.CONFIDENT).all()
    assert len(made.train) == len(made.validation) == 2 * len(task.names)


def test_the_surest_images_are_taken_and_each_once(unsorted):
    model, task, images, made = unsorted
    scores = model.zero_shot(model.add_images(images), task.names).exp()
    sure, guess = scores.max(1)
    of_class = sure[(guess == 0) & (sure > training_data.CONFIDENT)].sort(descending=True).values[:4]
    taken = model.zero_shot(made.handle, task.names).exp()[:, 0]
    in_turn = torch.stack([taken[:2], taken[len(made.train) : len(made.train) + 2]], 1).flatten()
    torch.testing.assert_close(in_turn[: len(of_class)], of_class)


def test_a_class_without_a_sure_image_keeps_its_stand_ins(unsorted):
    model, task, _, _ = unsorted
    foreign = LabeledImages(task.unlisted_validation.items[:3], (0,) * 3, ("anything",))
    made = training_data.select_confident(Workers(), model, foreign, task.names, shots=2, seed=0)
    stand_ins = training_data.make_stand_ins(model, task.names, shots=2, seed=0).handle.features
    kept = (made.handle.features == stand_ins).all(1)
    assert kept.sum() == len(kept) - len(made.images)
    assert made.digests["unlabelled images"] == foreign.digests()


def test_the_digests_of_a_training_file_are_kept_until_it_changes(clip, image_folder, monkeypatch):
    read = []
    original = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, new: read.append(file.name) or original(file, new))
    images = LabeledImages.from_folder(image_folder)
    arguments = {"forget": ["red"], "max_queries": 1, "shots": 2, "progress": False}
    unlearn(clip, images, **arguments)
    first, counts = images.digests(), Counter(read)
    assert max(counts.values()) == 2  # the keyed hash of the draw, and the SHA-256
    unlearn(clip, images, **arguments)
    assert Counter(read) == counts
    changed = images.items[0]
    changed.write_bytes(images.items[-1].read_bytes() + b"more")
    assert [one != other for one, other in zip(images.digests(), first, strict=True)].count(True) == 1


def test_a_box_that_gives_scores_only_refuses_in_plain_words():
    class ScoresOnly:
        model_id = "user/space"

    with pytest.raises(ValueError, match=r"user/space answers with scores only.*give labelled images"):
        training_data.make_stand_ins(ScoresOnly(), NAMES, shots=2, seed=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "proximal"}, "expected labelled images, or the names of all classes"),
        ({"classes": NAMES, "validation": coloured(1)}, "a run by names only validates on stand-ins"),
        ({"classes": ("red", "red")}, "red"),
        ({"classes": ("green", "blue")}, "'red'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(clip, arguments, message):
    with pytest.raises(ValueError, match=message):
        unlearn(clip, forget=["red"], n_ctx=2, **arguments)


def test_images_and_classes_exclude_each_other(clip, images):
    with pytest.raises(ValueError, match="classes and unlabelled images are for a run by names"):
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


def test_the_command_takes_a_folder_of_unsorted_images(clip_folder, images, tmp_path):
    listed, target, folder = tmp_path / "names.txt", tmp_path / "adapter", tmp_path / "unsorted"
    listed.write_text("\n".join(images.names))
    (folder / "deeper").mkdir(parents=True)
    for number, image in enumerate(images):
        image.save(folder / "deeper" / f"{number}.png")
    (folder / "empty.png").touch()
    command = [
        "forget",
        "--model",
        clip_folder,
        "--classes",
        str(listed),
        "--unlabelled",
        str(folder),
        "--forget",
        "red",
    ]
    done = CliRunner().invoke(app, [*command, "--out", str(target), "--max-queries", "30", "--n-ctx", "2"])
    assert done.exit_code == 0, done.output
    assert "left out" in done.output
    assert "empty.png" in done.output
    config = ForgetAdapter.from_pretrained(target).config
    assert config.hyperparameters["images"] == "unlabelled"
    assert config.ledger["image_encodings"] == len(images)


@pytest.mark.parametrize(
    ("extra", "message"),
    [(["--classes", "names.txt"], "expected a folder with images, found none"), (["--data", "d"], "labelled already")],
)
def test_unsorted_images_that_help_nobody_are_refused(clip_folder, images, tmp_path, monkeypatch, extra, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("\n".join(images.names))
    (tmp_path / "nothing").mkdir()
    for number, label in enumerate(images.labels):
        (tmp_path / "d" / images.names[label]).mkdir(parents=True, exist_ok=True)
        images[number].save(tmp_path / "d" / images.names[label] / f"{number}.png")
    command = ["forget", "--model", clip_folder, "--unlabelled", "nothing", "--forget", "red", "--out", "a", *extra]
    assert message in str(CliRunner().invoke(app, command).exception)


def test_the_command_wants_images_or_names(clip_folder, tmp_path):
    command = ["forget", "--model", clip_folder, "--forget", "red", "--out", str(tmp_path / "a"), "--method", "lcs-cma"]
    done = CliRunner().invoke(app, command)
    assert "expected labelled images, or the names of all classes" in str(done.exception)
