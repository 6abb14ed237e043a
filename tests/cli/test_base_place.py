"""`--revision` and `--subfolder` of every command that loads a base."""

import shutil
from types import SimpleNamespace

import pytest

from hf_unlearn import ForgetAdapter
from tests.support.command_line import hf_unlearn_here, write_images


@pytest.fixture(scope="module")
def world(tmp_path_factory, clip_folder) -> SimpleNamespace:
    """Images, words, a base in a subfolder, and two edits of it."""
    top = tmp_path_factory.mktemp("place")
    shutil.copytree(clip_folder, top / "models" / "clip")
    (top / "words.txt").write_text("\n".join(f"word{number}" for number in range(60)), encoding="utf-8")
    base = ["--model", top / "models", "--subfolder", "clip"]
    words = ["--vocabulary", top / "words.txt"]
    for name in ("red", "blue"):
        done = hf_unlearn_here("forget", *base, "--forget", name, *words, "--out", top / name)
        assert done.returncode == 0, done.stderr
    return SimpleNamespace(top=top, base=base, words=words, images=write_images(top / "images", 2))


def command(world: SimpleNamespace, name: str, out: str) -> list:
    """A command about the base, without the options that say where it is."""
    red, blue, images = world.top / "red", world.top / "blue", world.images
    return {
        "forget": ["forget", "--forget", "red", *world.words, "--out", world.top / out],
        "evaluate": ["evaluate", "--adapter", red, "--data", images],
        "audit": ["audit", "--adapter", red, "--data", images, "--seed", 1],
        "export": ["export", red, world.top / out],
        "combine": ["combine", red, blue, *world.words, "--out", world.top / out],
        "without": ["without", world.top / "both", "blue", *world.words, "--out", world.top / out],
    }[name]


COMMANDS = ["forget", "evaluate", "export", "combine", "without", "audit"]


def base_option(name: str) -> str:
    return "--base" if name == "export" else "--model"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_base_in_a_subfolder_is_loaded_from_there(world, name):
    if name == "without" and not (world.top / "both").exists():
        hf_unlearn_here(*command(world, "combine", "both"), *world.base)
    place = [base_option(name), world.top / "models", "--subfolder", "clip"]
    done = hf_unlearn_here(*command(world, name, f"good-{name}"), *place)
    if name == "audit":  # this random model knows nothing, so there is nothing to audit
        assert "nothing to audit: the model without the adapter names less than half" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
    if name in ("forget", "combine", "without"):
        assert ForgetAdapter.from_pretrained(world.top / f"good-{name}").config.base_subfolder == "clip"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "without"])
def test_a_revision_of_a_folder_and_a_wrong_subfolder_are_refused_in_one_line(world, name):
    for options, said in (
        (["--subfolder", "clip", "--revision", "main"], "is a folder, which has no revisions"),
        (["--subfolder", "clap"], "clap there; give the subfolder of a checkpoint, or none"),
    ):
        done = hf_unlearn_here(*command(world, name, f"bad-{name}"), base_option(name), world.top / "models", *options)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert said in done.stderr
        assert not (world.top / f"bad-{name}").exists()


def test_the_card_and_info_say_where_the_base_is(world):
    assert "- **Base:** models, subfolder clip, revision not from the Hub" in (
        (world.top / "red" / "README.md").read_text(encoding="utf-8")
    )
    shown = hf_unlearn_here("info", world.top / "red").stdout
    assert [line.split() for line in shown.splitlines() if "subfolder" in line] == [["base", "subfolder", "clip"]]


@pytest.mark.parametrize("name", [*COMMANDS, "demo"])
def test_every_command_that_loads_a_model_takes_a_device_and_refuses_one_that_is_not_here(world, name):
    asked = ["demo", "--out", world.top / "demo"] if name == "demo" else command(world, name, "nowhere")
    place = [] if name == "demo" else [base_option(name), world.top / "models", "--subfolder", "clip"]
    if name == "without":
        asked[1] = world.top / "red"
    done = hf_unlearn_here(*asked, *place, "--device", "abacus")
    assert (done.returncode, "device 'abacus': can't be used here" in done.stderr) == (2, True), done.stderr
