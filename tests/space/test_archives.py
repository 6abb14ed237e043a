"""Zips as people and strangers make them: read as they are meant, or refused in a sentence, nothing of them left."""

import bz2
import io
import struct
import zipfile
import zlib

import pytest
from PIL import Image

from hf_unlearn.errors import InputError
from space.inputs.archives import count_images, unpack
from space.inputs.data_sources import collect_images
from space.inputs.run_request import RunRequest
from space.inputs.uploaded_images import UploadedImages, read_images
from tests.support.hostile_space import FILE, Entry, zip_of


def entry(name: bytes, content: bytes = b"x", flags: int = 0x800, method: int = 8) -> Entry:
    return Entry(name, content, flags, method, FILE, b"", {}, None)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (entry(b""), "can't be read"),
        (entry(b"a/" * 16 + b"1.png"), "17 deep; at most 16"),
        (entry(b"a/" * 1_500 + b"1.png"), "1501 deep; at most 16"),
        (entry(b"\xff\xfe.png"), "can't be read"),
        (entry(b"1.png", flags=1), "encrypted"),
        (entry(b"1.png", bz2.compress(bytes(2**20)), method=zipfile.ZIP_BZIP2), "packed in an unusual way"),
        (entry(b"1.png", method=zipfile.ZIP_LZMA), "packed in an unusual way"),
        (entry(b"1.png", method=93), "packed in an unusual way"),
        (entry(b"1.png", flags=0x20), "can't be read"),
    ],
)
def test_an_odd_entry_is_refused_and_nothing_before_it_stays(tmp_path, monkeypatch, sent, words):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "unpacked"))
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "sent.zip").write_bytes(zip_of([entry(b"cat/1.png"), sent], b"", {}))
    with pytest.raises(ValueError, match=words) as refused, unpack([tmp_path / "sent.zip"]):
        pass
    assert type(refused.value) is InputError
    assert not list((tmp_path / "unpacked").iterdir())


@pytest.mark.parametrize("comment", [b"", b"said at the end"])
def test_a_list_of_entries_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch, comment):
    many = zip_of([entry(b"%02d" % number + 60_000 * b"a") for number in range(40)], comment, {})
    wide = b"PK\6\6" + bytes(52) + b"PK\6\7" + bytes(16)  # its size would stand in front, in 64 bits
    end = many.rindex(b"PK\5\6")
    hidden = many[: end + 16] + b"PK\5\6" + many[end + 20 :]  # where the list starts, written like another end
    for content in (many, many[:end] + wide + many[end:], hidden):
        (tmp_path / "sent.zip").write_bytes(content)
        monkeypatch.setattr(zipfile, "ZipFile", None)
        with pytest.raises(ValueError, match="list of entries is too long"), unpack([tmp_path / "sent.zip"]):
            pass


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("value", [["cup"], {"cup": 1}, 3, float("nan")])
def test_an_order_of_anything_but_text_is_refused(place, value):
    good = ["embedded", "cup", "mug", "names", 100, "normal", ""]
    good[place] = value
    *most, dataset = good
    with pytest.raises(ValueError, match="budget is" if place == 4 else "Expected text in every field"):
        RunRequest.parse(*most, dataset=dataset)


def picture(shade: int = 0, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 99, 200)).save(file, kind)
    return file.getvalue()


def sent(tmp_path, names, content=None) -> UploadedImages:
    """A zip of these files as the Space reads it; a picture each, if they are not said to be something else."""
    with zipfile.ZipFile(tmp_path / "sent.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, (content or {}).get(name, picture(number)))
    with unpack([tmp_path / "sent.zip"]) as folder:
        return read_images(folder)


PETS = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]
TWO = {"cat": 2, "dog": 2}


@pytest.mark.parametrize(
    "more",
    [
        ["README.txt"], ["pets/README.txt"], ["README.txt", "labels.csv", "pets/labels.csv"], ["__MACOSX/pets/._1.png"],
        ["pets/__MACOSX/cat/._1.png", "pets/__MACOSX/._x"],
        ["pets/.DS_Store", "pets/cat/.DS_Store", "pets/cat/._1.png"],
        ["pets/cat/Thumbs.db", "pets/@eaDir/cat/1.png", "pets/cat/@eaDir/1.png/SYNOPHOTO_THUMB_S.jpg"],
        [".git/config", "pets/.ipynb_checkpoints/1.png", "pets/desktop.ini"],
    ],
)  # fmt: skip
def test_what_lies_beside_the_classes_of_a_zip_makes_no_class(tmp_path, more):
    found = sent(tmp_path, [f"pets/{name}" for name in PETS] + more)
    assert (found.images.counts(), found.test, found.note) == (TWO, None, "")


def test_images_of_every_kind_in_a_zip_are_found_and_what_is_none_is_told(tmp_path):
    forms = {"cat/1.AVIF": "AVIF", "cat/2.jfif": "JPEG", "cat/3": "WEBP", "cat/4.tif": "TIFF", "cat/5.JP2": "JPEG2000"}
    content = {name: picture(20 * number, kind) for number, (name, kind) in enumerate(forms.items())}
    found = sent(tmp_path, [*forms, "cat/notes.txt", *PETS[2:]], {**content, "cat/notes.txt": b"no image"})
    assert found.images.counts() == {"cat": 5, "dog": 2}
    assert found.note == "not images, skipped: cat/notes.txt"
    assert [image.getpixel((4, 4))[0] for image in found.images][:5] == pytest.approx([0, 20, 40, 60, 80], abs=6)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["1.png", *PETS], r"^1\.png is in no class's folder; put every image into the folder of its class\.$"),
        (["pets/1.jfif", *(f"pets/{name}" for name in PETS)], r"^1\.jfif is in no class's folder"),
        ([f"{number}.png" for number in range(5)], r"^0\.png, 1\.png, 2\.png and 2 more are in no class's folder"),
        (["pets.zip"], r"^'pets\.zip' is packed inside the zip; unpack it, then zip the folders themselves"),
        (["README.txt"], "^Expected one folder of images per class in the zip"),
        (["cat/1.mov", "dog/1.mov"], "^no image in any of its 2 sub-folders"),
        (["cat/1.heic", "dog/1.nef"], r"^dog/1\.nef: a camera's raw file; save it as PNG or JPEG\.$"),
        ([*PETS, "cat/3.svg", "dog/3.eps"], r"^cat/3\.svg: an image of a format .*\(\.svg\).*; and 1 more file\.$"),
        (["train/cat/1.png", "test/cat/1.png", "x/1.png"], r"^test and train lie beside x; .*, such as train\.?$"),
        (["images/1.png", "labels/1.png"], "^images and labels are no classes"),
        (["train/cat/1.png", "test/dog/1.png"], r"^train and test differ in classes.*a zip of one folder alone"),
    ],
)
def test_a_zip_that_is_laid_out_otherwise_is_refused_in_words_without_a_path_of_ours(tmp_path, names, words):
    with pytest.raises(ValueError, match=words) as refused:
        sent(tmp_path, names, {name: b"a film" for name in names if name.endswith(".mov")})
    assert "space-" not in str(refused.value)


@pytest.mark.parametrize("top", ["", "pets/", "deep/pets/", "a/b/c/"])
@pytest.mark.parametrize(("validation", "test"), [("val", "test"), ("valid", "Test"), ("", "test_set"), ("dev", "")])
def test_the_splits_of_a_zip_are_used_as_such(tmp_path, top, validation, test):
    parts = [part for part in ("train", validation, test) if part]
    found = sent(tmp_path, [f"{top}{part}/{name}" for part in parts for name in PETS])
    assert found.images.counts() == TWO
    assert [part and part.counts() for part in (found.validation, found.test)] == [
        TWO if name else None for name in (validation, test)
    ]
    assert sorted(found.places.values()) == sorted(parts)
    assert found.note == ""


USES = [
    ({"train": 6, "test": 6}, "6 of train, chooses by 6 of train, and is evaluated on 12 of test", "test"),
    ({"train": 6, "val": 4, "test": 3}, "12 of train, chooses by 8 of val, and is evaluated on 6 of test", "test"),
    ({"train": 6, "val": 4}, "6 of train, chooses by 8 of val, and is evaluated on 6 of train", "test"),
    ({"valid": 4, "test": 3}, "4 of valid, chooses by 4 of valid, and is evaluated on 6 of test", "test"),
    ({"train": 1, "val": 1}, "2 of train, chooses by 2 of val, and is evaluated on the same", "validation"),
    ({"": 2}, "2, chooses by 2, and is evaluated on the same, since there are no others", "validation"),
    ({"": 9}, "6, chooses by 6, and is evaluated on 6", "test"),
]  # fmt: skip


@pytest.mark.parametrize(("counts", "words", "kind"), USES)
def test_a_visitor_reads_what_the_images_of_a_zip_are_used_for(tmp_path, counts, words, kind):
    names = [
        f"{split}/{name}/{n}.png".lstrip("/") for split, count in counts.items() for name in TWO for n in range(count)
    ]
    with zipfile.ZipFile(tmp_path / "sent.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, picture(number))
    asked = RunRequest.parse("embedded", "cat", "", "files", 50, files=[str(tmp_path / "sent.zip")])
    made = collect_images(asked)
    assert f"the search learns from {words}" in made.note
    assert made.kind == kind
    groups = [{image.getpixel((1, 1))[0] for image in part} for part in (made.train, made.validation, made.judged)]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert (groups[1] & groups[2] != set()) == (kind == "validation")
    assert count_images(asked.files)[1] == len(names)
    edit = collect_images(RunRequest.parse("embedded", "cat", "", "files", 50, files=asked.files, method="edit"))
    assert f"it is evaluated on {len(edit.judged)}" in edit.note


def zipped(tmp_path, *names):
    with zipfile.ZipFile(tmp_path / "sent.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, picture(number))
    return [str(tmp_path / "sent.zip")]


def test_an_edit_forgets_a_name_that_is_no_class_of_a_zip_and_is_evaluated_on_what_there_is(tmp_path):
    files = zipped(tmp_path, *(f"{name}/{n}.png" for name in ("Cat", "dog", "bird") for n in range(9)))
    made = collect_images(RunRequest.parse("embedded", "cat\ngun", "", "files", 50, files=files, method="edit"))
    assert made.names == ("cat", "gun", "bird", "dog")  # a name in other capitals is the class
    assert made.judged.counts() == {"cat": 3, "gun": 0, "bird": 3, "dog": 3}
    assert made.note.endswith("None of them shows “gun”.")
    kept = collect_images(RunRequest.parse("embedded", "catt", "hat", "files", 50, files=files, method="edit"))
    assert (kept.names, kept.judged) == (("catt", "hat"), None)
    assert "None of them shows “catt”, “hat” (did you mean 'Cat'?)" in kept.note
    for name, words in (("gun", "'gun': a context learns"), ("dogs", r"'dogs' \(did you mean 'dog'\?\): a context")):
        with pytest.raises(ValueError, match=words):
            collect_images(RunRequest.parse("embedded", f"cat\n{name}", "", "files", 50, files=files))


def test_an_edit_is_evaluated_on_one_image_a_class_since_it_learns_from_none(tmp_path):
    files = zipped(tmp_path, "cat/1.png", "dog/1.png", "cow/1.png")
    made = collect_images(RunRequest.parse("embedded", "cat", "", "files", 50, files=files, method="edit"))
    assert (made.kind, len(made.judged)) == ("test", 3)
    with pytest.raises(ValueError, match="All classes of the images are to be forgotten"):
        collect_images(RunRequest.parse("embedded", "cat\ndog\ncow", "", "files", 50, files=files, method="edit"))


def test_a_file_that_is_no_zip_is_counted_as_nothing(tmp_path):
    (tmp_path / "sent.zip").write_bytes(b"no zip")
    assert count_images([tmp_path / "sent.zip"]) == count_images([]) == (0, 0)


NAMES_IN = {
    "cp932": ["猫", "犬", "ソース", "表", "りんご"], "gbk": ["猫", "狗", "苹果", "汽车"], "cp866": ["кошка", "Ёлка"],
    "cp437": ["Käse", "Löwe", "café", "Übung"], "utf-8": ["猫", "éclair", "кошка"],
}  # fmt: skip


@pytest.mark.parametrize("encoding", NAMES_IN)
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_names_of_a_zip_that_says_nothing_of_their_encoding_are_read_as_they_were_written(tmp_path, encoding, slash):
    names = [f"{name}{slash}1.PNG".encode(encoding) for name in NAMES_IN[encoding]]
    entries = [entry(name, picture(number), flags=0) for number, name in enumerate(names)]
    (tmp_path / "sent.zip").write_bytes(zip_of(entries, b"", {}))
    with unpack([tmp_path / "sent.zip"]) as folder:
        assert set(read_images(folder).images.names) == set(NAMES_IN[encoding])


def test_a_name_that_a_zip_holds_a_second_time_in_unicode_is_read_there(tmp_path):
    plain, name = b"??/1.png", "한글/1.png".encode()
    extra = struct.pack("<HHBI", 0x7075, 5 + len(name), 1, zlib.crc32(plain)) + name
    entries = [Entry(plain, picture(), 0, 8, FILE, extra, {}, None), entry(b"dog/1.png", picture(9))]
    (tmp_path / "sent.zip").write_bytes(zip_of(entries, b"", {}))
    with unpack([tmp_path / "sent.zip"]) as folder:
        assert read_images(folder).images.names == ("dog", "한글")


@pytest.mark.parametrize(
    "name", [b"../cat/1.png", b"/cat/1.png", b"..\\cat\\1.png", b"C:\\cat\\1.png", b"\\\\host\\1.png"]
)
def test_paths_that_lead_out_of_a_zip_are_refused_whatever_the_slash(tmp_path, name):
    (tmp_path / "sent.zip").write_bytes(zip_of([entry(b"cat/1.png"), entry(name, flags=0)], b"", {}))
    with pytest.raises(ValueError, match="leads elsewhere"), unpack([tmp_path / "sent.zip"]):
        pass


def test_two_files_of_one_name_are_refused_and_names_in_other_capitals_are_others(tmp_path):
    twice = [entry(b"cat/1.png", picture()), entry(b"cat\\1.png", picture(1))]
    (tmp_path / "sent.zip").write_bytes(zip_of(twice, b"", {}))
    with pytest.raises(ValueError, match=r"two files named 'cat/1\.png'"), unpack([tmp_path / "sent.zip"]):
        pass
    assert sent(tmp_path, ["cat/1.png", "cat/1.PNG", "Dog/1.png"]).images.counts() == {"Dog": 1, "cat": 2}
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "1.png").write_bytes(picture())
    with (
        pytest.raises(ValueError, match=r"two files named '1\.png'"),
        unpack([tmp_path / "a" / "1.png", tmp_path / "b" / "1.png"]),
    ):
        pass
