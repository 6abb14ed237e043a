"""Strangers: hostile ids, zips and adapters, each answered with a clear sentence; nothing large is fetched first."""

import json
import zipfile
from dataclasses import replace

import pytest
from PIL import Image

from hf_unlearn import unlearn
from hf_unlearn.data.hub_datasets import HubDataset
from space.inputs.archives import unpack
from space.inputs.data_sources import collect_images
from space.inputs.hub_datasets import draw_images
from space.inputs.limits import open_image
from space.inputs.run_request import CONTEXT, DRAWINGS, EDIT, FILES, NAMES, RunRequest
from space.inputs.uploaded_images import read_images
from space.services.adapter_store import AdapterStore
from space.services.downloads import zip_files
from space.services.model_cache import ModelCache
from space.services.model_screening import _is_open_clip, screen_model
from tests.support.images import coloured


def written(tmp_path, files, name="sent.zip"):
    path = tmp_path / name
    path.write_bytes(zip_files(files))
    return [path]


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a b", "http://127.0.0.1/x", "user/name/more", "-x", "", "x" * 300, None],
)
def test_what_is_no_model_id_is_refused_before_anybody_is_asked(name):
    with pytest.raises(ValueError, match="no model id"):
        screen_model(name)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "clip", "auto_map": {"AutoModel": "x.py"}}, "brings code"),
        ({"model_type": "clip", "text_config": {"auto_map": {}}}, "brings code"),
        ({"model_type": "llama"}, "no CLIP we know"),
        ({}, "no CLIP we know"),
        ({"model_type": "clip", "text_config": {"hidden_size": 10**9}}, "hidden_size 1000000000; at most"),
        ({"model_type": "clip", "vision_config": {"num_hidden_layers": 10**6}}, "num_hidden_layers"),
    ],
)
def test_a_config_that_asks_for_code_or_for_too_much_is_refused(config, words):
    with pytest.raises(ValueError, match=words):
        _is_open_clip("user/model", {"config.json": config})


@pytest.mark.parametrize("path", ["../out.png", "/out.png", "a/../../out.png", "..\\out.png", "C:\\out.png"])
def test_no_path_of_a_zip_leads_outside(tmp_path, path):
    with pytest.raises(ValueError, match="leads elsewhere"), unpack(written(tmp_path, {path: b"x"})):
        pass
    assert not list(tmp_path.parent.rglob("out.png"))


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "sent.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="leads elsewhere"), unpack([tmp_path / "sent.zip"]):
        pass


def test_a_zip_that_lies_about_its_sizes_or_is_damaged_is_refused(tmp_path):
    whole = zip_files({"a/1.png": bytes(1000)})
    for content in (whole[:-30], b"PK\x03\x04 and nothing more", whole.replace(b"a/1.png", b"b/2.png", 1)):
        (tmp_path / "sent.zip").write_bytes(content)
        with pytest.raises(ValueError, match="can't be read"), unpack([tmp_path / "sent.zip"]):
            pass


def test_images_of_a_visitors_zip_are_read_and_outlive_it(tmp_path):
    images = coloured(6)
    folder = tmp_path / "own"
    for i in range(len(images)):
        path = folder / "things" / images.names[images.labels[i]] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        images[i].save(path)
    sent = written(tmp_path, {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.png")})
    material = collect_images(RunRequest.parse("embedded", "red", "", FILES, 50, files=sent))
    assert material.names == ("red", "blue", "green", "grey")
    assert {len(part) for part in (material.train, material.validation, material.judged)} == {8}
    with pytest.raises(ValueError, match=r"No class of the images is called 'pink'.* or make an edit"):
        collect_images(RunRequest.parse("embedded", "pink", "", FILES, 50, files=sent))


def test_a_wrong_file_in_a_visitors_zip_is_named(tmp_path):
    with (
        unpack(written(tmp_path, {"cat/1.png": b"no image"})) as folder,
        pytest.raises(ValueError, match=r"cat/1\.png: This file is not an image"),
    ):
        read_images(folder)


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "P", "LA", "1", "F"])
def test_unusual_kinds_of_images_are_read_as_rgb_or_refused_in_words(tmp_path, mode):
    kind = "jpeg" if mode == "CMYK" else "tiff" if mode == "F" else "png"
    Image.new(mode, (32, 32)).save(tmp_path / f"odd.{kind}")
    assert open_image(tmp_path / f"odd.{kind}").mode == "RGB"
    Image.new("F", (32, 32), -1).save(tmp_path / "odd.tiff")
    with pytest.raises(ValueError, match="This image has float32 pixels from -1 to -1; expected floats 0 to 1"):
        open_image(tmp_path / "odd.tiff")


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_photo_of_48_megapixels_is_read_at_a_part_of_its_size_and_upright(tmp_path, kind):
    photo, exif = Image.new("RGB", (8_000, 6_000), "white"), Image.Exif()
    photo.paste("red", (0, 0, 8_000, 2_000))
    exif[0x112] = 6  # turned by a quarter
    second = {"append_images": [Image.new("RGB", (80, 60))], "save_all": True} if kind == "MPO" else {}
    photo.save(tmp_path / "photo.jpg", kind, exif=exif, **second)
    read = open_image(tmp_path / "photo.jpg")
    assert read.size == (3_000, 4_000)
    assert [read.getpixel((x, 50))[1] < 50 for x in (100, 2_900)] == [False, True]
    photo.save(tmp_path / "photo.jpg", "JPEG", progressive=True)  # decoded as a whole, whatever its size
    with pytest.raises(ValueError, match=r"48 megapixels; at most 25 are read, or 120 of a plain JPEG\. Make"):
        open_image(tmp_path / "photo.jpg")


def test_a_photo_that_was_cut_off_is_called_so_and_no_path_is_said(tmp_path):
    Image.effect_noise((200, 200), 50).save(tmp_path / "photo.jpg")
    (tmp_path / "photo.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes()[:5_000])
    with pytest.raises(ValueError, match=r"^This image file is damaged or was cut off; save it again") as refusal:
        open_image(tmp_path / "photo.jpg")
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": "elsewhere"}, "no source of images"),
        ({"budget": 10**9}, "50 to 3,000"),
        ({"budget": float("nan")}, "50 to 3,000"),
        ({"strength": "brutal"}, "no strength"),
        ({"method": "magic"}, "no method 'magic'; choose edit, context"),
        ({"method": 7}, "Expected text in every field"),
        ({"keep": "", "source": NAMES, "method": "context"}, "no names to keep"),
        ({"forget": ""}, "no names to forget"),
        ({"keep": " , "}, "no names to keep"),
        ({"keep": "guitar\nbomb"}, "forgotten and kept"),
        ({"forget": "\n".join(f"thing {i}" for i in range(201))}, "at most 200"),
    ],
)
def test_an_order_out_of_bounds_is_refused(change, words):
    order = {"base": "embedded", "forget": "bomb\ndagger", "keep": "guitar", "source": DRAWINGS, "budget": 100}
    with pytest.raises(ValueError, match=words):
        RunRequest.parse(**{**order, **change})


def test_names_alone_are_an_edit_and_images_a_context_unless_said_otherwise():
    assert RunRequest.parse("embedded", "bomb", "", NAMES, 100).method == EDIT
    assert RunRequest.parse("embedded", "bomb", "guitar", NAMES, 100, method="context").method == CONTEXT
    assert RunRequest.parse("embedded", "bomb", "guitar", DRAWINGS, 100).method == CONTEXT
    alone = RunRequest.parse("embedded", "bomb", "", DRAWINGS, 100, method="edit")
    assert (alone.method, alone.keep) == (EDIT, [])
    judged = collect_images(alone).judged
    assert judged.names[0] == "bomb"
    assert len(judged.names) > 10  # evaluated beside everyday names


def test_the_demos_drawings_are_no_images_for_another_model():
    assert collect_images(RunRequest.parse("user/clip", "unicorn rider", "guitar", NAMES, 100)).train is None


def test_adapters_from_strangers_are_checked_and_each_visitor_sees_only_its_own(clip, clip_folder, tmp_path):
    adapter = unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, progress=False).adapter
    store = AdapterStore(tmp_path, ModelCache({adapter.config.base_model: clip_folder}))
    files = replace(adapter, report=None).stored().files()
    key = store.add_upload(written(tmp_path, {f"mine/{name}": content for name, content in files.items()}), "one")
    assert store.get(key).config == adapter.config
    assert list(store.list_private("one")) == [key]
    assert store.list_private("two") == {}
    config = json.loads(files["config.json"])
    for broken, words in [
        ({"config.json": b"{"}, "not valid JSON"),
        ({"forget_context.safetensors": b"\x80\x04 pickle"}, "not a readable safetensors"),
        ({"config.json": json.dumps({**config, "dim": 10**9}).encode()}, "dim must be"),
        ({"config.json": json.dumps({**config, "forget": []}).encode()}, "forget must be"),
    ]:
        with pytest.raises(ValueError, match=words):
            store.add_upload(written(tmp_path, {**files, **broken}), "one")
    with pytest.raises(ValueError, match="Expected one adapter"):
        store.add_upload(written(tmp_path, {"readme.txt": b""}), "one")


def test_an_image_of_a_data_set_is_one_of_its_files_within_the_bounds_of_an_upload(tmp_path):
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    for odd, words in [
        (None, "has no image"),
        ({"bytes": None, "path": str(tmp_path / "secret.png")}, "its image is no file of the data set"),
        ({"bytes": None, "path": "hf://datasets/user/other@main/1.png"}, "its image is no file of the data set"),
        ({"bytes": None, "path": "hf://datasets/user/pets@main/../other/1.png"}, "its image is no file of the"),
        ({"bytes": None, "path": "file:///etc/hostname::hf://datasets/user/pets@main/1.png"}, "its image is no file"),
        ({"bytes": b"no image", "path": None}, "This file is not an image we can read"),
        ({"bytes": bytes(51 * 2**20), "path": None}, "its image is larger than 50 MB"),
    ]:
        pictures = [Image.new("RGB", (4, 4)), odd]
        table = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1]}, features=kinds).to_iterable_dataset()
        rows = HubDataset("user/pets").rows_of(table, "train")
        with pytest.raises(ValueError, match=rf"^user/pets, row 1 of train: {words}"):
            draw_images(rows, [])
        assert len(draw_images(rows, ["cat"])) == 1
