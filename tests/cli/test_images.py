"""Folders of images as the commands read them: splits, classes left out, names as words, test images seen before."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from hf_unlearn import ForgetAdapter
from hf_unlearn.cli.images import Reading, read_unlabelled
from tests.support.command_line import hf_unlearn_here
from tests.support.images import COLOURS, coloured

FEW = ("--max-queries", 8, "--n-ctx", 2, "--shots", 2)


def write(folder: Path, count: int = 6, seed: int = 0, names=tuple(COLOURS)) -> Path:
    images = coloured(count, seed)
    for number in range(len(images)):
        name = images.names[images.labels[number]]
        if name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)
            images[number].save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def splits(tmp_path) -> Path:
    for seed, name in enumerate(("train", "val", "test")):
        write(tmp_path / "D" / name, 3 + seed, seed)
    return tmp_path / "D"


def forget(clip_folder, out, *more):
    done = hf_unlearn_here("forget", "--model", clip_folder, "--forget", "red", "--out", out, "--json", *more)
    return done, json.loads(done.stdout) if done.returncode == 0 else None


def held(tmp_path) -> tuple:
    """Words that edits hold in place: the tokenizer of the small CLIP has none."""
    (tmp_path / "words.txt").write_text("\n".join(["a dog", "grass", "music", "beer", "a hat"]))
    return "--vocabulary", tmp_path / "words.txt"


def told(done) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith(("note: ", "warning: ", "left out: "))]


def test_a_run_on_a_folder_of_splits_learns_from_train_and_val_and_is_judged_by_test(clip_folder, splits, tmp_path):
    done, report = forget(clip_folder, tmp_path / "out", "--data", splits, *FEW)
    assert told(done) == [
        f"note: {splits} is divided into splits; for training: train and val (28 images)",
        f"note: {splits} is divided into splits; for evaluation: test (20 images)",
    ]
    assert report["images"] == {"kind": "test", "forget": 5, "retain": 15, "classes": 4}


def test_a_test_folder_that_is_given_is_taken_before_the_split(clip_folder, splits, tmp_path):
    other = write(tmp_path / "other", 2, 9)
    done, report = forget(clip_folder, tmp_path / "out", "--data", splits, "--test", other, *FEW)
    assert len(told(done)) == 1
    assert report["images"] == {"kind": "test", "forget": 2, "retain": 6, "classes": 4}


@pytest.mark.parametrize("command", ["evaluate", "audit"])
def test_judging_on_a_folder_of_splits_uses_the_test_split(clip_folder, splits, tmp_path, command):
    forget(clip_folder, tmp_path / "out", "--method", "edit", "--data", splits, *held(tmp_path))
    done = hf_unlearn_here(command, "--adapter", tmp_path / "out", "--model", clip_folder, "--data", splits, "--json")
    assert done.returncode == 0 or "nothing to audit" in done.stderr  # the small CLIP knows no colour
    assert told(done) == [f"note: {splits} is divided into splits; for evaluation: test (20 images)"]


@pytest.mark.parametrize("more", [(), ("--names", "auto")])
def test_a_class_left_out_is_neither_learned_nor_judged(clip_folder, splits, tmp_path, more):
    (splits / "train" / "grey" / "broken.png").write_bytes(b"")
    shutil.rmtree(write(tmp_path / "T", 2, 9) / "blue")  # it need not be in every folder
    done, report = forget(
        clip_folder, tmp_path / "out", "--data", splits / "train", "--test", tmp_path / "T", "--leave-out", "grey",
        "--leave-out", "blue", *more, *FEW,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ForgetAdapter.from_pretrained(tmp_path / "out").config.retain == ["green"]
    assert report["images"] == {"kind": "test", "forget": 2, "retain": 2, "classes": 2}
    done, _ = forget(clip_folder, tmp_path / "more", "--data", splits / "train", "--leave-out", "gray", *FEW)
    assert done.returncode == 2
    assert "no class 'gray' (did you mean 'grey'?) to leave out" in done.stderr


def test_combine_without_evaluate_and_audit_leave_classes_out_too(clip_folder, tmp_path):
    data, out, words = write(tmp_path / "D"), tmp_path / "out", held(tmp_path)
    one, two = tmp_path / "red", tmp_path / "blue"
    forget(clip_folder, one, *words)
    forget(clip_folder, two, "--forget", "blue", *words)
    common = ("--model", clip_folder, "--data", data, "--json")
    for command in (("combine", one, two, "--out", out, *words),
                    ("without", out, "blue", "--out", tmp_path / "less", *words),
                    ("evaluate", "--adapter", one)):  # fmt: skip
        done = hf_unlearn_here(*command, *common, "--leave-out", "grey")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["images"]["classes"] == 3
    assert "nothing to audit" in hf_unlearn_here("audit", "--adapter", one, *common, "--leave-out", "grey").stderr
    assert "no class 'pink'" in hf_unlearn_here("audit", "--adapter", one, *common, "--leave-out", "pink").stderr
    done = hf_unlearn_here("audit", "--adapter", one, "--leave-out", "grey")
    assert (done.returncode, "--leave-out goes with --data" in done.stderr) == (2, True)


def test_names_of_folders_are_words_if_so_wished(clip_folder, tmp_path):
    write(tmp_path / "D")
    for name in COLOURS:
        (tmp_path / "D" / name).rename(tmp_path / "D" / f"n0000000{len(name)}-light_{name}")
    out = tmp_path / "out"
    words = ("--model", clip_folder, "--forget", "light red", "--out", out, "--data", tmp_path / "D", *FEW)
    assert hf_unlearn_here("forget", *words).returncode == 2
    done = hf_unlearn_here("forget", *words, "--names", "auto")
    assert done.returncode == 0, done.stderr
    assert sorted(ForgetAdapter.from_pretrained(out).config.retain) == ["light blue", "light green", "light grey"]


@pytest.mark.parametrize("shared", [0, 3])
def test_test_images_that_were_learned_from_are_counted_and_told(clip_folder, tmp_path, shared):
    data, test = write(tmp_path / "D"), write(tmp_path / "T", 2, 9)
    for number in range(shared):
        shutil.copy(data / "red" / f"{number}.png", test / "red" / f"again-{number}.png")
    done, _ = forget(clip_folder, tmp_path / "out", "--data", data, "--test", test, *FEW)
    sentence = (
        "warning: 3 of 11 test images are also in --data, the same files, so the figures are too good; "
        "remove them from one"
    )
    assert told(done) == [sentence] * bool(shared)
    done = hf_unlearn_here(
        "evaluate",
        "--adapter",
        tmp_path / "out",
        "--model",
        clip_folder,
        "--data",
        test,
        "--validation",
        data,
        "--json",
    )
    assert told(done) == [sentence.replace("--data", "--validation")] * bool(shared)


def test_what_is_no_image_is_one_line_on_stderr_and_json_stays_json(clip_folder, tmp_path):
    data = write(tmp_path / "D")
    for number in range(5):
        (data / "red" / f"{number}.txt").touch()
    done, report = forget(clip_folder, tmp_path / "out", "--data", data, "--method", "edit", *held(tmp_path))
    assert told(done) == [f"note: {data}: not images, skipped: red/0.txt, red/1.txt, red/2.txt and 2 more"]
    assert report["forget"] == ["red"]


def test_unsorted_images_are_told_of_like_others(tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.avif")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty.png").touch()
    assert read_unlabelled(tmp_path) == [tmp_path / "1.avif"]
    assert capsys.readouterr().err.splitlines() == [
        f"left out: {tmp_path / 'empty.png'}: an empty file",
        f"note: {tmp_path}: not images, skipped: notes.txt",
    ]
    for folder in (tmp_path / "nowhere", write(tmp_path / "D", names=())):
        with pytest.raises(ValueError, match="expected a folder with images, found none"):
            read_unlabelled(folder)


def test_a_reading_says_what_is_wrong_with_a_folder(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        Reading().data_and_test(tmp_path / "nowhere", None)
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        Reading(leave_out=["red"]).data_and_test(write(tmp_path / "D", names=("red", "blue")), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("count", "more"), [(5, []), (6, ["left out: and 1 more"]), (2005, ["left out: and 2,000 more"])]
)
def test_of_many_images_that_are_left_out_the_first_are_named_and_the_rest_counted(tmp_path, capsys, count, more):
    write(tmp_path / "D", 1)
    for number in range(count):
        (tmp_path / "D" / "red" / f"z{number:04}.png").touch()
    lines = [f"left out: {tmp_path}/D/red/z{number:04}.png: an empty file" for number in range(5)] + more
    assert len(Reading(skip_broken=True).images(tmp_path / "D", "evaluation")) == len(COLOURS)
    warning = f"warning: {tmp_path}/D: {count:,} of {count + len(COLOURS):,} images are left out"
    assert capsys.readouterr().err.splitlines() == [*lines, warning]
    read_unlabelled(tmp_path / "D")
    assert capsys.readouterr().err.splitlines() == lines
    for path in (tmp_path / "D").rglob("[!z]*.png"):
        path.unlink()
    with pytest.raises(ValueError, match="can be used"):
        Reading(skip_broken=True).images(tmp_path / "D", "evaluation")
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (("pets/cat", "pets/dog"), "the classes seem to lie in {}/pets"),
        (("train/cat", "test/cat", "more"), "a folder of splits must hold nothing else"),
        (("images", "labels"), "images and labels are no classes"),
    ],
)
def test_folders_that_are_no_classes_are_not_read_as_such(tmp_path, places, words):
    for place in places:
        (tmp_path / place).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / place / "1.png")
    with pytest.raises(ValueError, match=words.format(tmp_path)):
        Reading().images(tmp_path, "training")
