"""Folders as they are found: every file that can't be used is named, and the run goes on or stops as asked."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from hf_unlearn import LabeledImages
from hf_unlearn.data.image_files import MAX_BYTES

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes of three good pictures each."""
    for number, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for shade in range(3):
            Image.new("RGB", (8, 8), (100 * number, 50 * shade, 9)).save(tmp_path / "pets" / name / f"{shade}.png")
    return tmp_path / "pets"


def broken(folder: Path) -> dict[str, str]:
    """What a reading that goes on tells: file, relative to the folder -> why."""
    told = []
    images = LabeledImages.from_folder(folder, on_broken=told.append)
    assert len(list(images)) == len(images)
    return {os.fsdecode(item.path.relative_to(folder)): item.why for item in told}


def spoil(folder: Path, what: str) -> str:
    """Adds one bad file; gives its name."""
    path = folder / "cat" / "bad.png"
    match what:
        case "empty":
            path.write_bytes(b"")
        case "junk":
            path.write_bytes(b"no image")
        case "cut off":
            path.write_bytes((folder / "cat" / "1.png").read_bytes()[:-30])
        case "another format":
            path.write_bytes(EPS)
        case "huge":
            with path.open("wb") as file:
                file.truncate(MAX_BYTES + 1)  # takes no room
        case "a link to outside":
            shutil.copy(folder / "cat" / "1.png", folder.parent / "private.png")
            path.symlink_to(folder.parent / "private.png")
        case "a link to nothing":
            path.symlink_to("nowhere.png")
        case "a link in a circle":
            path.symlink_to(path.name)
        case "a pipe":
            os.mkfifo(path)
    return "cat/bad.png"


FROM_OUTSIDE = {
    "empty": "an empty file",
    "huge": "larger than 1 GiB",
    "a link to outside": "a link to outside the folder",
    "a link to nothing": "a link to nothing",
    "a link in a circle": "a link to nothing",
    "a pipe": "not a regular file",
}
INSIDE = dict.fromkeys(("junk", "cut off", "another format"), "not a readable image")


@pytest.mark.parametrize(("what", "why"), {**FROM_OUTSIDE, **INSIDE}.items())
def test_a_reading_that_goes_on_names_what_it_leaves_out_and_why(folder, what, why):
    name = spoil(folder, what)
    told = broken(folder)
    assert set(told) == {name}
    assert why in told[name]


@pytest.mark.parametrize(("what", "why"), FROM_OUTSIDE.items())
def test_a_reading_that_stops_does_so_before_anything_is_decoded(folder, what, why):
    spoil(folder, what)
    with pytest.raises(ValueError, match=rf"bad\.png: {why}.*; repair or remove it$"):
        LabeledImages.from_folder(folder)


def test_a_reading_that_stops_says_how_many_more_files_are_broken(folder):
    for number in range(3):
        (folder / "dog" / f"empty-{number}.png").touch()
    with pytest.raises(ValueError, match=r"empty-0\.png: an empty file; and 2 more files; repair or remove them$"):
        LabeledImages.from_folder(folder)


def test_of_copies_in_one_class_the_first_is_used(folder):
    shutil.copy(folder / "cat" / "1.png", folder / "cat" / "copy.png")
    assert broken(folder) == {"cat/copy.png": f"the same file as {folder / 'cat' / '1.png'}"}


def test_of_copies_in_two_classes_none_is_used(folder):
    shutil.copy(folder / "cat" / "1.png", folder / "dog" / "copy.png")
    told = broken(folder)
    assert set(told) == {"cat/1.png", "dog/copy.png"}
    assert all("another class" in why for why in told.values())


def test_links_within_the_folder_are_images_like_others(folder):
    (folder / "cat" / "9.png").symlink_to(folder / "dog" / "odd" / "9.png")
    (folder / "dog" / "odd").mkdir()
    Image.new("RGB", (8, 8), "white").save(folder / "dog" / "odd" / "9.png")
    assert LabeledImages.from_folder(folder).counts() == {"cat": 4, "dog": 4}


def test_a_data_set_in_the_cache_of_the_hub_is_all_links_and_is_read(folder, tmp_path):
    snapshot = tmp_path / "datasets--user--pets" / "snapshots" / "abc"
    (tmp_path / "datasets--user--pets" / "blobs").mkdir(parents=True)
    for file in sorted(folder.rglob("*.png")):
        name = f"{file.parent.name}-{file.stem}"
        blob = shutil.copy(file, tmp_path / "datasets--user--pets" / "blobs" / name)
        link = snapshot / "train" / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    assert len(LabeledImages.from_folder(snapshot / "train")) == 6
    assert broken(snapshot / "train") == {}


@contextmanager
def nobody():
    """Root reads everything; someone else does not."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read_is_named(folder):
    with tempfile.TemporaryDirectory() as top:  # pytest's own folders are closed to others
        Path(top).chmod(0o755)
        shared = shutil.copytree(folder, Path(top) / "pets")
        (shared / "cat" / "1.png").chmod(0)
        with nobody():
            assert set(broken(shared)) == {"cat/1.png"}
            with pytest.raises(ValueError, match=r"1\.png: not a readable image.*[Pp]ermission"):
                list(LabeledImages.from_folder(shared))


@pytest.mark.parametrize(
    ("name", "called"),
    [("e\u0301clair", "\u00e9clair"), ("犬", "犬"), ("🍺", "🍺"), ("a\nb", "a b"), ("[red]", "[red]"),
     ("a" * 200, "a" * 200), ("\u202ebird", "bird"), ("\x1b[2J", "[2J")],
)  # fmt: skip
def test_odd_names_of_classes_and_files_are_names_like_others(folder, name, called):
    (folder / "dog").rename(folder / name)
    (folder / name / "0.png").rename(folder / name / f"{name[:50]}.png")
    images = LabeledImages.from_folder(folder)
    assert len(list(images)) == 6
    assert called in images.names


def test_a_folder_whose_name_is_no_unicode_is_refused_as_a_class(folder):
    os.rename(folder / "dog", os.fsencode(folder) + b"/\xff\xfe")
    with pytest.raises(ValueError, match="class names must be valid Unicode"):
        LabeledImages.from_folder(folder)


def test_a_file_whose_name_is_no_unicode_is_read_and_told_about(folder):
    os.rename(folder / "dog" / "1.png", os.fsencode(folder) + b"/dog/\xff.png")
    assert len(list(LabeledImages.from_folder(folder))) == 6
    (Path(os.fsdecode(os.fsencode(folder) + b"/dog/\xff.png"))).write_bytes(b"")
    assert "an empty file" in broken(folder).values()


def forget(clip_folder, folder, out, *more) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "hf_unlearn", "forget", "--model", clip_folder, "--data", folder,
               "--forget", "cat", "--shots", "1", "--max-queries", "20", "--out", out, "--json", *more]  # fmt: skip
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


def test_the_command_stops_or_goes_on_as_asked_and_names_every_file(clip_folder, folder, tmp_path):
    spoil(folder, "junk")
    (folder / "dog" / "empty.png").touch()
    os.rename(folder / "dog" / "2.png", os.fsencode(folder) + b"/dog/\xff.png")
    Path(os.fsdecode(os.fsencode(folder) + b"/dog/\xff.png")).write_bytes(b"x")
    stopped = forget(clip_folder, folder, tmp_path / "out")
    assert (stopped.returncode, stopped.stdout) == (2, "")
    assert "empty.png: an empty file" in stopped.stderr
    done = forget(clip_folder, folder, tmp_path / "out", "--skip-broken")
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert [line.split(": ")[0] for line in told[:3]] == ["left out"] * 3
    assert told[3].endswith("3 of 8 images are left out")
    assert json.loads(done.stdout)["images"]["classes"] == 2
