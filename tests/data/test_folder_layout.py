"""Folders as people lay them out: every image counts, whatever is none is named, splits and names are as meant."""

import os
import shutil
import warnings
from pathlib import Path

import pytest
from PIL import Image

from hf_unlearn import LabeledImages
from hf_unlearn.data.folder_layout import readable_names, split_folders
from hf_unlearn.errors import BrokenFilesError


@pytest.fixture(autouse=True)
def told(monkeypatch) -> list[str]:
    """What from_folder warns of, if it is not given `tell`."""
    found: list[str] = []
    monkeypatch.setattr(warnings, "warn", lambda text, *rest, **options: found.append(str(text)))
    return found


def picture(path: Path, kind: str = "PNG", shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade, 99, 200)).save(path, kind)
    return path


def pets(root: Path, *classes: str, each: int = 2) -> Path:
    for number, name in enumerate(classes or ("cat", "dog")):
        for shade in range(each):
            picture(root / name / f"{shade}.png", shade=50 * number + shade)
    return root


FORMS = {
    "1.avif": "AVIF", "2.jfif": "JPEG", "3.jpe": "JPEG", "4.ppm": "PPM", "5.pgm": "PPM", "6.jp2": "JPEG2000",
    "7.apng": "PNG", "8.dib": "DIB", "9.HEIC": "HEIF", "10": "PNG", "11.jpg_large": "JPEG", "12.jpg!d": "WEBP",
    "13.qoi": "QOI", "14.J2K": "JPEG2000", "15.tga": "TGA", "IMG 16.JPG": "JPEG", "17.png.download": "GIF",
}  # fmt: skip


def test_images_of_every_kind_are_found_whatever_their_suffix(tmp_path, told):
    for number, (name, kind) in enumerate(FORMS.items()):
        if kind != "HEIF" or "HEIF" in Image.SAVE:
            picture(tmp_path / "cat" / name, kind, number)
    pets(tmp_path, "dog")
    images = LabeledImages.from_folder(tmp_path)
    assert images.counts() == {"cat": len(list((tmp_path / "cat").iterdir())), "dog": 2}
    assert {image.mode for image in images} == {"RGB"}
    assert not told


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "1.heif", "1.hif"])
def test_photos_that_need_the_extra_stop_the_reading_and_are_named_with_it(tmp_path, monkeypatch, name):
    monkeypatch.setattr("hf_unlearn.data.image_files.suffixes", lambda: frozenset({".png"}))
    pets(tmp_path)
    for folder in ("cat", "dog"):
        (tmp_path / folder / name).write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(BrokenFilesError, match=rf"{name}: a HEIC photo; pip install 'hf_unlearn\[heic\]'.*and 1 more"):
        LabeledImages.from_folder(tmp_path)
    broken = []
    assert len(LabeledImages.from_folder(tmp_path, on_broken=broken.append)) == 4
    assert [item.path.name for item in broken] == [name, name]


@pytest.mark.parametrize("name", ["1.svg", "1.EPS", "1.cr2", "1.dng", "1.jxl", "1.ico"])
def test_images_of_formats_that_are_not_read_stop_the_reading(tmp_path, name):
    picture(pets(tmp_path) / "cat" / name, "TIFF")  # a raw file may be one, with a small preview first
    with pytest.raises(BrokenFilesError, match=rf"{name}: .*save it as PNG or JPEG"):
        LabeledImages.from_folder(tmp_path)


LITTER = [
    ".DS_Store", "._0.png", "Thumbs.db", "THUMBS.DB", "desktop.ini", "Icon\r", "@eaDir/0.png/SYNOPHOTO_THUMB_S.jpg",
    "__MACOSX/._0.png", ".ipynb_checkpoints/0.png", ".git/x.png", ".cache/x.png", "__pycache__/x.png",
    "$RECYCLE.BIN/x.png", "lost+found/x.png",
]  # fmt: skip


@pytest.mark.parametrize("name", LITTER)
@pytest.mark.parametrize("place", ["", "cat", "cat/more"])
def test_what_systems_leave_behind_is_passed_over_in_silence(tmp_path, told, name, place):
    picture(pets(tmp_path) / "cat" / "more" / "9.png", shade=9)
    before = LabeledImages.from_folder(tmp_path)
    picture(tmp_path / place / name, shade=77)
    assert LabeledImages.from_folder(tmp_path) == before
    assert not told


OTHERS = ["notes.txt", "0.json", "labels.csv", "0.xmp", "0.mov", "more.zip", "PK", "P1 is no picture", "x.pdf", "empty"]


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_else_is_no_image_is_skipped_and_named(tmp_path, told, name):
    before = LabeledImages.from_folder(pets(tmp_path))
    (tmp_path / "cat" / name).write_bytes(name.encode() if name != "empty" else b"")
    assert LabeledImages.from_folder(tmp_path) == before
    assert told == [f"{tmp_path}: not images, skipped: cat/{name}"]


def test_of_many_the_first_are_named_the_rest_counted_and_images_beside_the_classes_too(tmp_path, told):
    pets(tmp_path)
    for number in range(9):
        (tmp_path / "cat" / f"{number}.txt").touch()
    picture(tmp_path / "loose.png")
    (tmp_path / "README.md").touch()
    sentence = "not images, skipped: cat/0.txt, cat/1.txt, cat/2.txt and 6 more; in no class's folder, skipped: "
    heard: list[str] = []
    LabeledImages.from_folder(tmp_path, tell=heard.append)
    assert heard == [sentence + "loose.png"]
    assert not told


def test_links_are_named_and_never_followed_out_or_in_circles(tmp_path, told):
    pets(tmp_path / "pets")
    picture(tmp_path / "private" / "1")
    (tmp_path / "pets" / "cat" / "round").symlink_to(tmp_path / "pets")
    (tmp_path / "pets" / "cat" / "self").symlink_to("self")
    (tmp_path / "pets" / "cat" / "out").symlink_to(tmp_path / "private" / "1")
    os.mkfifo(tmp_path / "pets" / "cat" / "pipe")
    assert len(LabeledImages.from_folder(tmp_path / "pets")) == 4
    assert told == [f"{tmp_path / 'pets'}: not images, skipped: cat/out, cat/pipe, cat/round and 1 more"]


def test_images_beside_no_class_are_said_to_be_so(tmp_path):
    for number in range(5):
        picture(tmp_path / f"{number}.png", shade=number)
    with pytest.raises(
        ValueError, match=r"0\.png, 1\.png, 2\.png and 2 more lie in no class's folder; expected one sub"
    ):
        LabeledImages.from_folder(tmp_path)


# Splits


@pytest.mark.parametrize(
    ("validation", "test"),
    [("val", "test"), ("valid", "Test"), ("validation", "testing"), (None, "test"), ("val_set", "test_set")],
)
def test_a_folder_of_splits_is_known_by_their_names(tmp_path, validation, test):
    for name in filter(None, ("train", validation, test)):
        pets(tmp_path / name)
    found = split_folders(tmp_path)
    assert found == {kind: tmp_path / name for kind, name in
                     (("train", "train"), ("validation", validation), ("test", test)) if name}  # fmt: skip
    with pytest.raises(ValueError, match=r"divided into test, train.*choose one: split="):
        LabeledImages.from_folder(tmp_path)
    assert LabeledImages.from_folder(tmp_path, split="train").names == ("cat", "dog")
    with pytest.raises(ValueError, match=r"has no split 'extra'; it has test"):
        LabeledImages.from_folder(tmp_path, split="extra")


@pytest.mark.parametrize("classes", [("train", "bus"), ("train", "test"), ("test", "dog"), ("val", "test")])
def test_classes_that_are_called_like_splits_stay_classes(tmp_path, classes):
    pets(tmp_path, *classes)
    assert split_folders(tmp_path) == {}
    assert LabeledImages.from_folder(tmp_path).names == tuple(sorted(classes))


def test_splits_that_do_not_fit_together_are_refused(tmp_path):
    pets(tmp_path / "train")
    pets(tmp_path / "test", "cat")
    with pytest.raises(
        ValueError, match=r"train and test differ in classes \('dog' is in one of them only\); give the fo"
    ):
        LabeledImages.from_folder(tmp_path)
    shutil.rmtree(tmp_path / "test")
    picture(tmp_path / "test" / "unsorted.png")
    with pytest.raises(ValueError, match="train and test differ in classes"):
        LabeledImages.from_folder(tmp_path)
    shutil.rmtree(tmp_path / "test")
    pets(tmp_path / "val")
    pets(tmp_path / "valid")
    with pytest.raises(ValueError, match="val and valid are both its validation split; keep one"):
        LabeledImages.from_folder(tmp_path)


# Sub-folders that are no classes


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (
            ["pets/cat", "pets/dog"],
            "its only sub-folder, pets, holds no images but folders of images.* lie in {}/pets:",
        ),
        (["a/b/cat", "a/b/dog/more"], "its only sub-folder, a, .* the classes seem to lie in {}/a/b: give that"),
        (["a/train/cat", "a/test/cat"], "its only sub-folder, a, .* the classes seem to lie in {}/a: give that"),
        (["images/cat", "images/dog", "labels"], "images and labels are no classes; .* lie in {}/images: give that"),
        (["JPEGImages", "Annotations", "lists"], "JPEGImages and Annotations are no classes; .*: sort the images by"),
        (["train/cat", "Test/cat", "extra"], "Test and train lie beside extra; .* nothing else: .* such as {}/train$"),
        (["training/cat", "val/cat", "x/cat"], "training and val lie beside x; a folder of splits must hold nothing"),
    ],
)
def test_sub_folders_that_are_no_classes_are_refused_with_where_these_seem_to_lie(tmp_path, places, words):
    for place in places:
        picture(tmp_path / place / "1.png")
    with pytest.raises(ValueError, match=words.format(tmp_path)):
        LabeledImages.from_folder(tmp_path)


@pytest.mark.parametrize(
    "places",
    [
        ["cat"], ["cat/one"], ["cat/one/two"], ["cat", "cat/one", "cat/two"], ["cat/one", "dog/two"],
        ["train/steam", "bus"], ["train", "test", "bus"], ["images", "drawings"], ["labels", "stamps"],
    ],
)  # fmt: skip
def test_classes_with_folders_in_them_and_of_such_names_stay_classes(tmp_path, places):
    for place in places:
        picture(tmp_path / place / "1.png")
    assert LabeledImages.from_folder(tmp_path).names == tuple(sorted({place.split("/")[0] for place in places}))


# Classes left out, and their names


@pytest.mark.parametrize("name", ["cafe\u0301", "caf\u00e9", "a bar"])
def test_a_class_is_left_out_by_its_folder_or_its_name_and_its_files_do_not_matter(tmp_path, told, name):
    pets(tmp_path, "cat", "cafe\u0301", "dog")
    (tmp_path / "cafe\u0301" / "empty.png").touch()
    (tmp_path / "cafe\u0301" / "notes.txt").touch()
    images = LabeledImages.from_folder(tmp_path, {"caf\u00e9": "a bar"}, leave_out=[name])
    assert images.names == ("cat", "dog")
    assert images.labels == (0, 0, 1, 1)
    assert not told


@pytest.mark.parametrize(
    ("leave_out", "words"),
    [
        (["dogs"], r"no class 'dogs' \(did you mean 'dog'\?\) to leave out in .*; it has cat, dog"),
        (["cat", "dog"], "all 2 classes of .* are to be left out"),
        ("cat", "leave_out must be a list of names, got the text 'cat'"),
    ],
)
def test_what_cannot_be_left_out_is_named(tmp_path, leave_out, words):
    with pytest.raises(ValueError, match=words):
        LabeledImages.from_folder(pets(tmp_path), leave_out=leave_out)


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["golden_retriever", "tabby_cat"], ["golden retriever", "tabby cat"]),
        (["n02099601-golden_retriever", "n02123045 tabby"], ["golden retriever", "tabby"]),
        (["001.Black_footed_Albatross", "002.Laysan__Albatross"], ["Black footed Albatross", "Laysan Albatross"]),
        (["10_euro", "20_euro"], ["10 euro", "20 euro"]),  # the number is what tells them apart
        (["101_dalmatians", "pug"], ["101 dalmatians", "pug"]),
        (["n02099601", "7_up", "t-shirt"], ["n02099601", "7 up", "t-shirt"]),
    ],
)
def test_names_of_folders_are_read_as_words_if_so_wished(tmp_path, folders, names):
    assert readable_names(folders) == names
    found = LabeledImages.from_folder(pets(tmp_path, *folders), "auto")
    assert dict(zip(sorted(folders), found.names, strict=True)) == dict(zip(folders, names, strict=True))
    assert LabeledImages.from_folder(tmp_path).names == tuple(sorted(folders))


def test_a_folder_without_any_image_says_what_is_there_instead(tmp_path, told):
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(ValueError, match="no image in any of its 2 sub-folders: they are empty; read are PNG, JPEG"):
        LabeledImages.from_folder(tmp_path)
    (tmp_path / "cat" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"no image in any of its 2 sub-folders: not images, skipped: cat/notes\.txt$"):
        LabeledImages.from_folder(tmp_path)
    assert not told
    (tmp_path / "cat" / "1.png").touch()
    with pytest.raises(ValueError, match="no image in any of its 2 sub-folders can be used"):
        LabeledImages.from_folder(tmp_path, on_broken=lambda file: None, tell=told.append)
