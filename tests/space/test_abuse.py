"""Hostile input over HTTP to the running Space: each is answered in words, and the Space still answers after it."""

import json
import threading
import time
import zipfile
from dataclasses import replace

import pytest
from PIL import Image

from hf_unlearn import unlearn
from space.services.downloads import zip_files
from tests.support.gradio_http import Refusal, Stranger, launched
from tests.support.images import coloured

LABELS, MARKUP = "beer mug\nguitar", "<img src=x onerror=alert(1)>"
TRAIN = "A zip: one folder of images per class"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    from space.ui.app import build

    with launched(build(tmp_path_factory.mktemp("root"))) as address:
        yield Stranger(address)


@pytest.fixture(autouse=True)
def alive(stranger, tmp_path):
    """Whatever was sent, the next visitor has an answer."""
    yield
    Image.new("RGB", (32, 32), "red").save(tmp_path / "plain.png")
    assert classify(stranger, stranger.upload(tmp_path / "plain.png"))["message"].startswith(
        "No adapter is chosen. The plain model"
    )


def classify(stranger, image, labels=LABELS, adapter="", base="embedded"):
    return stranger.call(stranger.named("classify"), image, labels, adapter, base, True)[0]


def run_of(stranger) -> int:
    """The number of the page's event that makes a model forget."""
    return next(event["id"] for event in stranger.events["dependencies"] if event["types"]["generator"])


def running() -> bool:
    return any(thread.name == "run" for thread in threading.enumerate())


def picture(path, kind):
    """One image of each kind that is trouble."""
    image = Image.effect_noise((200, 200), 50)
    if kind == "bomb":
        Image.new("1", (14_000, 14_000)).save(path, "PNG")
    elif kind == "20,000 px":
        Image.new("1", (20_000, 1_500)).save(path, "PNG")
    elif kind == "strip":
        Image.new("1", (20_000, 10)).save(path, "PNG")
    elif kind == "truncated":
        image.save(path, "PNG")
        path.write_bytes(path.read_bytes()[:5_000])
    elif kind == "animated":
        image.save(path, "GIF", save_all=True, append_images=[image.rotate(90)])
    elif kind == "CMYK":
        image.convert("CMYK").save(path, "JPEG")
    elif kind == "16-bit":
        image.convert("I;16").save(path, "PNG")
    elif kind == "postscript":
        image.save(path, "EPS")
    else:
        content = {"empty": b"", "text": b"no image", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}
        path.write_bytes(content.get(kind, b"\x89PNG\r\n\x1a\n and nothing more"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bomb", "at most 25"), ("20,000 px", "30 megapixels; at most 25"), ("strip", "strip of 20000 × 10"),
        ("truncated", "damaged or was cut off"), ("postscript", "not an image we can read"),
        ("text", "not an image we can read"), ("header", "not an image we can read"),
        ("svg", "not an image we can read"), ("empty", "not an image we can"),
        ("animated", None), ("CMYK", None), ("16-bit", None),
    ],
)  # fmt: skip
def test_images(stranger, tmp_path, kind, words):
    picture(tmp_path / "sent.png", kind)
    sent = stranger.upload(tmp_path / "sent.png")
    if words is None:
        assert list(classify(stranger, sent)["before"]) == LABELS.splitlines()
    else:
        with pytest.raises(Refusal, match=words):
            classify(stranger, sent)


@pytest.mark.parametrize(
    "image",
    [{"path": "/etc/passwd"}, {"path": "../../etc/passwd"}, {"path": "http://127.0.0.1:1/x.png"},
     {"url": "file:///etc/passwd"}, {"path": None}, {}, None, "text", 7, [1], "data:image/png;base64,AAAA"],
)  # fmt: skip
def test_what_is_no_upload(stranger, image):
    if isinstance(image, dict):
        image = {**image, "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(Refusal) as refusal:
        classify(stranger, image)
    assert "root:" not in str(refusal.value)


def test_a_file_of_this_machine_that_nobody_uploaded_is_not_read_whatever_the_request_calls_it(stranger, tmp_path):
    secret = str(tmp_path / "secret.png")
    coloured(1)[0].save(secret)
    file = {"_type": "gradio.FileData"}
    for form in (
        secret, {"path": secret}, {"path": secret, "meta": {"_type": "x"}}, {"path": secret, "meta": "x"},
        {"path": secret, "meta": file}, {"url": secret}, {"url": f"file://{secret}", "meta": file},
        {"path": secret, "is_stream": True}, {"path": None, "url": secret, "meta": file},
    ):  # fmt: skip
        with pytest.raises(Refusal, match="can't be read here; upload it"):
            classify(stranger, form)


def test_an_upload_larger_than_allowed(stranger, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(51 * 2**20))
    with pytest.raises(Exception, match="413"):
        stranger.upload(tmp_path / "large.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": "x" * 300_000}, "too long a text"), ({"labels": "a\n" + "b" * 201}, "at most 200"),
        ({"labels": "\n".join(map(str, range(1_001)))}, "1,001 labels"), ({"labels": " ,"}, "no labels"),
        ({"adapter": "../../etc"}, "no saved adapter"), ({"adapter": "/etc"}, "no saved adapter"),
        ({"adapter": "<b>x</b>"}, "no saved adapter"), ({"adapter": "user/na me"}, "no saved adapter"),
        ({"adapter": "runs/nothing"}, "no saved adapter"), ({"adapter": "own/guess"}, "no longer here"),
        ({"adapter": MARKUP}, "no saved adapter '&lt;img"), ({"base": MARKUP}, "'&lt;img.*no model id"),
        ({"base": "../../etc/passwd"}, "no model id"), ({"base": "a" * 9_999}, "no model id"),
        ({"base": ["embedded"]}, "no model id"), ({"adapter": {"a": 1}}, "no saved adapter"),
        ({"labels": None}, "labels as text, one per line; got NoneType"), ({"base": None}, "as text, got NoneType"),
    ],
)  # fmt: skip
def test_ids_and_labels(stranger, tmp_path, change, words):
    Image.new("RGB", (32, 32)).save(tmp_path / "sent.png")
    with pytest.raises(Refusal, match=words):
        classify(stranger, stranger.upload(tmp_path / "sent.png"), **change)


def test_labels_with_markup_are_only_text(stranger, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "sent.png")
    shown, said = stranger.call(
        stranger.event("Image", "upload"), stranger.upload(tmp_path / "sent.png"), f"{MARKUP}\n{MARKUP}[a](http:b)", "",
        "embedded", True,
    )  # fmt: skip
    assert "&lt;img" in shown
    assert "<img" not in shown + said
    assert "](http" not in said


ZIPS = {
    "bomb": ({"a/zeros.png": bytes(201 * 2**20)}, "larger than 200 MB"),
    "many": ({f"a/{i}.png": b"" for i in range(5_001)}, "5,001 entries"),
    "up": ({"../out.png": b"x"}, "leads elsewhere"),
    "root": ({"/out.png": b"x"}, "leads elsewhere"),
    "zip in zip": ({"a.zip": zip_files({"a/1.png": b""})}, "Expected one adapter|'a.zip' is packed inside the zip"),
    "nothing": ({}, "Expected one"),
    "damaged": (None, "can't be read"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_zips_as_adapters_and_as_images(stranger, tmp_path, kind):
    files, words = ZIPS[kind]
    (tmp_path / "sent.zip").write_bytes(zip_files(files) if files is not None else zip_files({"a": b"b"})[:-9])
    sent = stranger.upload(tmp_path / "sent.zip")
    with pytest.raises(Refusal, match=words):
        stranger.call(stranger.event("An adapter as a zip, or its files", "upload"), [sent])
    with pytest.raises(Refusal, match=words):
        stranger.call(run_of(stranger), "embedded", "a", "", "files", 50, "normal", sent, "", "edit")


def test_adapters(stranger, clip, tmp_path):
    made = unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, progress=False).adapter
    files = replace(made, report=None).stored().files()
    config = json.loads(files["config.json"])
    take = stranger.event("An adapter as a zip, or its files", "upload")
    for broken, words in [
        ({"config.json": b"{"}, "not valid JSON"),
        ({"forget_context.safetensors": b"\x80\x04 pickle"}, "not a readable safetensors"),
        ({"config.json": json.dumps({**config, "dim": 10**9}).encode()}, "dim must be"),
        ({"config.json": json.dumps({**config, "forget": []}).encode()}, "forget must be"),
    ]:
        (tmp_path / "sent.zip").write_bytes(zip_files({**files, **broken}))
        with pytest.raises(Refusal, match=words):
            stranger.call(take, [stranger.upload(tmp_path / "sent.zip")])
    marked = json.dumps({**config, "forget": [MARKUP], "base_model": MARKUP}).encode()
    with zipfile.ZipFile(tmp_path / "marked.zip", "w") as archive:
        for name, content in {**files, "config.json": marked}.items():
            archive.writestr(name, content)
    chosen, _ = stranger.call(take, [stranger.upload(tmp_path / "marked.zip")])
    show = stranger.event("Adapter, or an adapter's id on the Hub", "input")
    answer = stranger.call(show, chosen["value"], "embedded", "", "")
    assert "<img" not in answer[3]


def test_who_leaves_stops_the_run(stranger):
    visitor = Stranger(str(stranger.http.base_url).removesuffix("/gradio_api/"))
    asked = ["embedded", "bomb\ndagger", "guitar\nbanana", "drawings", 3_000, "normal", None, "", "context"]
    visitor.join(run_of(visitor), *asked)
    with visitor.listening() as news:
        next(item for item in news if "Searching" in str(item))
        assert running()
    give_up = time.monotonic() + 600
    while running() and time.monotonic() < give_up:
        time.sleep(0.2)
    assert not running()
