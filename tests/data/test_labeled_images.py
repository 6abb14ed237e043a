"""Labelled images: folders as people have them, images as cameras write them, and the keyed draw."""

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_unlearn import LabeledImages
from hf_unlearn.data.class_names import check_names, split_names
from hf_unlearn.data.pixels import to_rgb
from hf_unlearn.errors import InputError
from tests.support.images import COLOURS, coloured


def pixels(images) -> list[bytes]:
    return [image.tobytes() for image in images]


def write(path: Path, colour=(10, 20, 30), size=(4, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


# Folders


def test_a_folder_has_one_class_per_sub_folder_in_alphabetical_order(image_folder, images):
    found = LabeledImages.from_folder(str(image_folder))
    assert found.names == ("blue", "green", "grey", "red")
    assert found.counts() == dict.fromkeys(found.names, 8)
    assert len(found) == len(images) == 32
    by_class = {name: sorted(pixels(images.select(np.flatnonzero(np.array(images.labels) == label))))
                for label, name in enumerate(images.names)}  # fmt: skip
    for label, name in enumerate(found.names):
        own = found.select(i for i in range(len(found)) if found.labels[i] == label)
        assert sorted(pixels(own)) == by_class[name]


def test_names_map_sub_folders_to_class_names_and_the_rest_keep_theirs(image_folder):
    found = LabeledImages.from_folder(image_folder, {"red": "a ripe tomato", "grey": "fog"})
    assert found.names == ("blue", "green", "fog", "a ripe tomato")
    assert found.counts()["a ripe tomato"] == 8


def test_names_for_a_sub_folder_that_is_not_there_are_refused(image_folder):
    with pytest.raises(ValueError, match="mentions 'pink', which is not a sub-folder"):
        LabeledImages.from_folder(image_folder, {"pink": "x"})


def test_names_that_make_two_classes_alike_are_refused(image_folder):
    with pytest.raises(ValueError, match="'green' is listed twice"):
        LabeledImages.from_folder(image_folder, {"red": "green"})


def test_hidden_files_litter_and_hidden_folders_are_skipped(image_folder):
    before = LabeledImages.from_folder(image_folder)
    (image_folder / "red" / "._1.png").write_bytes(b"a Mac was here")
    (image_folder / "red" / ".DS_Store").write_bytes(b"")
    (image_folder / "red" / "Thumbs.db").write_bytes(b"")
    (image_folder / ".git").mkdir()
    write(image_folder / ".cache" / "x.png")
    (image_folder / "labels.csv").write_text("")
    assert LabeledImages.from_folder(image_folder) == before


def test_what_is_skipped_is_a_warning_at_the_line_that_reads(image_folder):
    (image_folder / "red" / "notes.txt").touch()
    with pytest.warns(UserWarning, match=r"not images, skipped: red/notes\.txt$") as caught:
        LabeledImages.from_folder(image_folder)
    assert [warning.filename for warning in caught] == [__file__]


def test_hidden_folders_inside_a_class_are_skipped(image_folder):
    before = LabeledImages.from_folder(image_folder)
    write(image_folder / "red" / ".ipynb_checkpoints" / "1-checkpoint.png")
    assert LabeledImages.from_folder(image_folder) == before


def test_a_dataset_below_a_hidden_folder_is_read_all_the_same(tmp_path):
    write(tmp_path / ".cache" / "pets" / "cat" / "1.png")
    assert len(LabeledImages.from_folder(tmp_path / ".cache" / "pets")) == 1


def test_a_folder_named_like_an_image_is_no_image(image_folder):
    before = LabeledImages.from_folder(image_folder)
    (image_folder / "red" / "thumbnails.png").mkdir()
    assert LabeledImages.from_folder(image_folder) == before


def test_images_in_folders_below_a_class_belong_to_it_and_suffixes_may_be_in_capitals(tmp_path):
    write(tmp_path / "cat" / "deep" / "er" / "1.PNG")
    write(tmp_path / "cat" / "2.JPEG")
    write(tmp_path / "dog" / "3.bmp")
    assert LabeledImages.from_folder(tmp_path).counts() == {"cat": 2, "dog": 1}


def test_a_class_without_images_stays_a_class(image_folder):
    (image_folder / "void").mkdir()
    assert LabeledImages.from_folder(image_folder).counts()["void"] == 0


def test_a_missing_an_empty_and_an_imageless_folder_are_refused_and_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such folder; expected a folder with one sub-folder"):
        LabeledImages.from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=f"{tmp_path.name}: empty; expected one sub-folder"):
        LabeledImages.from_folder(tmp_path)
    write(tmp_path / "loose.png")
    with pytest.raises(ValueError, match=r"loose\.png lies in no class's folder; expected one sub-folder"):
        LabeledImages.from_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(ValueError, match="no image in any of its 2 sub-folders"):
        LabeledImages.from_folder(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    with pytest.raises(ValueError, match=r"1\.png: a file; unpack it if it is an archive; expected a folder"):
        LabeledImages.from_folder(write(tmp_path / "1.png"))


@pytest.mark.parametrize("given", [None, 3, b"pets", ["pets"]])
def test_what_is_no_path_is_no_folder(given):
    with pytest.raises(ValueError, match="folder must be a path, got "):
        LabeledImages.from_folder(given)


@pytest.mark.parametrize("split", ["validation", "val", "Valid"])
def test_a_split_is_chosen_by_any_of_its_usual_names(tmp_path, split):
    for place, images in (("train", 2), ("val", 1)):
        for name in ("cat", "dog"):
            for number in range(images):
                write(tmp_path / place / name / f"{number}.png")
    assert LabeledImages.from_folder(tmp_path, split=split).counts() == {"cat": 1, "dog": 1}


# Reading


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
@pytest.mark.parametrize("keep", [1, 9, 40, 0.5, 0.9])
def test_a_corrupt_image_is_named_when_it_is_read_and_not_before(tmp_path, suffix, keep):
    path = tmp_path / "cat" / f"bad.{suffix}"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    images = LabeledImages.from_folder(tmp_path)
    with pytest.raises(ValueError, match=rf"bad\.{suffix}: not a readable image"):
        images[0]


def test_an_image_that_has_gone_is_named(tmp_path):
    path = write(tmp_path / "cat" / "1.png")
    images = LabeledImages.from_folder(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"1\.png: no such file"):
        images[0]


def test_an_image_of_absurd_size_is_refused_not_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "cat" / "big.png", size=(100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    with pytest.raises(ValueError, match=r"big\.png: not a readable image"):
        LabeledImages.from_folder(tmp_path)[0]
    assert path.exists()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    clear = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    clear.putpixel((0, 0), (200, 0, 0, 255))
    (tmp_path / "cat").mkdir()
    clear.convert(mode).save(tmp_path / "cat" / "1.png") if mode != "P" else clear.save(tmp_path / "cat" / "1.gif")
    image = LabeledImages.from_folder(tmp_path)[0]
    assert image.mode == "RGB"
    assert image.getpixel((3, 3)) == (255, 255, 255)
    assert image.getpixel((0, 0)) != (255, 255, 255)


def test_half_transparent_pixels_are_mixed_with_white():
    mixed = to_rgb(Image.new("RGBA", (1, 1), (255, 0, 0, 128))).getpixel((0, 0))
    assert mixed == pytest.approx((255, 127, 127), abs=1)


def test_exif_orientation_is_obeyed(tmp_path):
    image = Image.new("RGB", (6, 4), "black")
    image.paste("white", (0, 0, 3, 4))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90° clockwise to see it upright
    (tmp_path / "cat").mkdir()
    image.save(tmp_path / "cat" / "1.png", exif=exif)
    upright = LabeledImages.from_folder(tmp_path)[0]
    assert upright.size == (4, 6)
    assert upright.getpixel((2, 0)) == (255, 255, 255)  # left has become top
    assert upright.getpixel((2, 5)) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "P", "YCbCr"])
def test_every_mode_becomes_rgb(mode):
    assert to_rgb(Image.new("RGB", (3, 3), "white").convert(mode)).getpixel((1, 1)) == (255, 255, 255)


def test_a_sixteen_bit_greyscale_image_keeps_its_tones(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    (tmp_path / "cat").mkdir()
    Image.fromarray(ramp).save(tmp_path / "cat" / "1.png")
    seen = np.asarray(LabeledImages.from_folder(tmp_path)[0])[..., 0]
    assert abs(int(seen[8, 0]) - 128) < 4
    assert seen[15, 15] == 255


# Arrays and datasets


def test_arrays_and_pil_images_become_the_same():
    array = np.random.default_rng(0).integers(0, 255, (5, 6, 3), np.uint8)
    found = LabeledImages.from_arrays([array, Image.fromarray(array)], np.array([1, 0]), ["a", "b"])
    assert found.labels == (1, 0)
    assert found.names == ("a", "b")
    assert pixels(found)[0] == pixels(found)[1] == array.tobytes()


def test_grey_and_transparent_arrays_are_read():
    grey, clear = np.full((2, 2), 7, np.uint8), np.zeros((2, 2, 4), np.uint8)
    found = LabeledImages.from_arrays([grey, clear], [0, 0], ["a"])
    assert found[0].getpixel((0, 0)) == (7, 7, 7)
    assert found[1].getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0], ["a", "b"], "expected one label per image, got 1 for 2 images"),
        ([0, 2], ["a", "b"], "labels must be 0 to 1, got 2"),
        ([0, -1], ["a", "b"], "labels must be 0 to 1, got -1"),
        ([0, 0], [], "at least one class name"),
        ([0, 1], ["a", "a"], "'a' is listed twice"),
        ([0, 1], ["a", "  "], "at least one visible character"),
        ([0, 1], ["a", 3], "class names must be text"),
    ],
)
def test_labels_and_names_that_do_not_fit_are_refused(labels, names, message):
    with pytest.raises(ValueError, match=message):
        LabeledImages.from_arrays([Image.new("RGB", (2, 2))] * 2, labels, names)


def test_a_selection_keeps_names_and_pairs_images_with_their_labels(images):
    chosen = images.select([31, 0, 8])
    assert chosen.labels == (3, 0, 1)
    assert chosen.names == images.names
    assert pixels(chosen) == [images[i].tobytes() for i in (31, 0, 8)]


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="the extra 'datasets' is not installed")
def test_a_dataset_of_the_hub_library_is_read():
    import datasets

    small = coloured(2)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(COLOURS))})
    table = datasets.Dataset.from_dict({"image": list(small.items), "label": list(small.labels)}, features=features)
    found = LabeledImages.from_dataset(table)
    assert (found.names, found.labels) == (small.names, small.labels)
    assert pixels(found) == pixels(small)
    with pytest.raises(ValueError, match="no column 'photo' in the dataset; it has image, label"):
        LabeledImages.from_dataset(table, image="photo")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    plain = datasets.Dataset.from_dict({"image": list(small.items), "label": list(small.labels)}, features=features)
    with pytest.raises(ValueError, match="column 'label' has no class names"):
        LabeledImages.from_dataset(plain)


def test_a_row_without_an_image_is_named_and_files_need_no_decoding(tmp_path):
    datasets = pytest.importorskip("datasets")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    whole = {"bytes": (tmp_path / "red.png").read_bytes(), "path": None}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})

    def read(second, image: object, **kind: str) -> LabeledImages:
        rows = [{"image": whole, "label": 0}, {"image": second, "label": 1}]
        table = datasets.Dataset.from_list(rows, features=kinds).cast_column("image", image).with_format(**kind)
        return LabeledImages.from_dataset(table)

    for second, why in ((None, "has no image"), ({"bytes": b"no image", "path": None}, "not a readable image")):
        with pytest.raises(InputError, match=f"row 1: {why}"):
            read(second, datasets.Image())
    undecoded = read({"bytes": None, "path": str(tmp_path / "red.png")}, datasets.Image(decode=False))
    for images in (undecoded, read(whole, datasets.Image(), type="torch")):
        assert [image.getpixel((0, 0)) for image in images] == [(255, 0, 0)] * 2
        assert images.labels == (0, 1)


# The few-shot draw


def test_the_three_parts_are_disjoint_and_together_everything(images):
    parts = images.few_shot(3, seed=0)
    assert [part.counts() for part in parts] == [dict.fromkeys(COLOURS, n) for n in (3, 3, 2)]
    together = [(item, label) for part in parts for item, label in zip(pixels(part), part.labels, strict=True)]
    assert Counter(together) == Counter(zip(pixels(images), images.labels, strict=True))
    assert all(part.names == images.names for part in parts)


def test_the_seed_decides_the_draw(images):
    again = [pixels(part) for part in images.few_shot(3, seed=0)]
    assert [pixels(part) for part in images.few_shot(3, seed=0)] == again
    assert pixels(images.few_shot(3, seed=1)[0]) != again[0]


def test_the_order_of_the_images_does_not_matter(images):
    turned = images.select(reversed(range(len(images))))
    for one, other in zip(images.few_shot(3, 0), turned.few_shot(3, 0), strict=True):
        assert pixels(one) == pixels(other)


def test_files_and_the_folder_they_are_in_do_not_matter(image_folder, tmp_path):
    moved = image_folder.rename(tmp_path / "elsewhere")
    first = [pixels(part) for part in LabeledImages.from_folder(moved).few_shot(3, 0)]
    for path in moved.rglob("*.png"):
        path.rename(path.with_name(f"renamed-{path.name}"))
    assert [pixels(part) for part in LabeledImages.from_folder(moved).few_shot(3, 0)] == first


def test_taking_one_image_away_only_lets_the_next_one_in_line_move_up(images):
    whole = images.draw(8, seed=4)
    order = {label: [p for p, own in zip(pixels(whole), whole.labels, strict=True) if own == label] for label in (0, 1)}
    for gone in range(8):  # each image of class 0
        less = images.select(i for i in range(len(images)) if i != gone)
        left = less.draw(8, seed=4)
        own = [p for p, label in zip(pixels(left), left.labels, strict=True) if label == 0]
        assert own == [p for p in order[0] if p != images[gone].tobytes()]
        assert [p for p, label in zip(pixels(left), left.labels, strict=True) if label == 1] == order[1]
        train, validation, rest = less.few_shot(3, seed=4)
        drawn = [p for part in (train, validation, rest) for p in pixels(part.select(
            i for i in range(len(part)) if part.labels[i] == 0))]  # fmt: skip
        assert drawn == own


def test_draw_gives_the_training_part_of_few_shot_and_never_more_than_there_are(images):
    assert pixels(images.draw(3, 7)) == pixels(images.few_shot(3, 7)[0])
    assert images.draw(100, 7).counts() == images.counts()


@pytest.mark.parametrize(("count", "expected"), [(2, (1, 1, 0)), (3, (2, 1, 0)), (5, (3, 2, 0)), (6, (3, 3, 0)),
                                                 (7, (3, 3, 1)), (8, (3, 3, 2))])  # fmt: skip
def test_a_small_class_is_halved_training_first(count, expected):
    parts = coloured(count).few_shot(3, seed=0)
    assert tuple(part.counts()["red"] for part in parts) == expected


def test_a_class_with_one_image_is_refused_by_name(images):
    lonely = images.select([*range(8), 8, *range(16, 32)])
    with pytest.raises(ValueError, match="class 'green' has one image; at least two are needed"):
        lonely.few_shot(3, seed=0)


def test_a_class_without_images_draws_nothing(images):
    without = images.select(range(8, 32))
    assert without.few_shot(2, 0)[0].counts() == {"red": 0, "green": 2, "blue": 2, "grey": 2}


@pytest.mark.parametrize("shots", [0, -1])
def test_shots_below_one_are_refused(images, shots):
    with pytest.raises(ValueError, match=f"shots must be a whole number of at least 1, got {shots}"):
        images.few_shot(shots, 0)
    with pytest.raises(ValueError, match=f"shots must be a whole number of at least 1, got {shots}"):
        images.draw(shots, 0)


# Names


def test_split_names_gives_the_indices_of_both_kinds_in_the_order_of_the_names():
    assert split_names(["a", "b", "c", "d"], ["d", "b"]) == ([1, 3], [0, 2])


@pytest.mark.parametrize(
    ("names", "forget", "message"),
    [
        (["a", "b"], ["x"], "unknown class 'x'; the classes are: a, b"),
        (["a", "b"], [], "at least one class to forget, got none"),
        (["a", "b"], ["b", "a"], "all 2 classes would be forgotten"),
        (["a"], ["a"], "at least two classes.*got only 'a'"),
        ([], ["a"], "at least one class name, got none"),
        (["a", "b", "a"], ["a"], "'a' is listed twice"),
        (["a", ""], ["a"], "at least one visible character"),
        ([f"class {i}" for i in range(30)], ["x"], "class 19, …"),
    ],
)
def test_split_names_refuses_what_makes_no_sense(names, forget, message):
    with pytest.raises(ValueError, match=message):
        split_names(names, forget)


def test_check_names_accepts_any_script():
    check_names(["ビール", "beer mug", "🍺"])
