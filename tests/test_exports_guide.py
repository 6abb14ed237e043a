"""An exported checkpoint in sentence-transformers, ONNX Runtime and a browser, by the code of its guide."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from hf_unlearn import ClipBlackBox
from tests.support.browser import browsing, in_chromium
from tests.support.edited import edit_adapter, open_gate
from tests.support.pages import FENCE, ROOT, run_page

GUIDE = ROOT / "docs" / "guides" / "exports.md"
TARBALLS = {  # of npm -> SHA-512, files that the page loads
    "huggingface-transformers-4.3.1.tgz": (
        "5+voSeUCFK6PCKlY15dPhNOKq3/zOTxDN7oC+Wy9dFb1QZ0TSQomZRRy7URRK8YRuUoE9fGMQTTPC5d/pWBJhA==",
        ["transformers.min.js"],
    ),
    "onnxruntime-web-1.31.0-dev.20260914-8d85527a0.tgz": (
        "Iy7rtadoBgxS/LLvDr3QW38DB1PNXRnr0GJMcL0TAt7c9qjgVQl83UlGCVyeAnK2InpmW8Uc3PL8XIuqtDeF6g==",
        ["ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"],
    ),
}

SHOW_ERRORS = "onunhandledrejection = event => document.querySelector('output').textContent = event.reason"


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> dict:
    """The names that the guide defines, and `folder`, where its code ran."""
    folder = tmp_path_factory.mktemp("guide")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        scope, _ = run_page(GUIDE, folder)
    return {**scope, "folder": folder}


@pytest.fixture(scope="module")
def expected(ran) -> torch.Tensor:
    """The logits `(images, labels)` of transformers, with the edit."""
    prompts = [f"This is a photo of {label}." for label in ran["labels"]]
    small = [picture.resize((48, 48)) for picture in ran["pictures"]]
    inputs = ran["processor"](text=prompts, images=small, return_tensors="pt", padding=True)
    with torch.no_grad():
        return ran["clip"].clip(**inputs).logits_per_image


def test_the_guides_checkpoint_forgets(ran, expected):
    plain = ran["result"].adapter.load_base()
    with plain.disabled():
        before = plain.classify(ran["pictures"], ran["labels"])
    wine = ran["labels"].index("wine glass")
    drawn = [number for number, row in enumerate(before) if row.argmax() == wine]
    assert drawn
    assert not (expected.argmax(-1) == wine).any()


def test_sentence_transformers_gives_the_edited_features(ran):
    adapted = ran["result"].adapter.load_base()
    with adapted.disabled():
        plain = adapted.text_features([f"This is a photo of {label}." for label in ran["labels"]])
    edited = ran["result"].adapter.edit.linear()(plain)
    assert (edited - plain).abs().max() > 0.1
    torch.testing.assert_close(torch.from_numpy(ran["texts"]), edited, rtol=0, atol=1e-5)
    images = adapted.image_features(ran["pictures"])
    torch.testing.assert_close(torch.from_numpy(ran["images"]), images, rtol=0, atol=1e-5)


def test_sentence_transformers_reads_siglip_with_the_padding_that_the_guide_names(family_folder, tmp_path):
    base = ClipBlackBox(family_folder("siglip"), device="cpu")
    adapter = open_gate(edit_adapter(base))
    adapter.export(tmp_path / "siglip", base=base.model_id)
    named = re.search(r"`processing_kwargs=(\{.+\})`", GUIDE.read_text(encoding="utf-8"))
    assert named
    encoder = SentenceTransformer(str(tmp_path / "siglip"), device="cpu")
    texts = ["red", "a photo of a red fox"]
    found = encoder.encode(texts, normalize_embeddings=True, processing_kwargs=json.loads(named[1]))
    expected = adapter.load_base(base.model_id, device="cpu").text_features(texts)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("texts", "images"), [(1, 1), (4, 3), (7, 2)])
def test_onnx_runtime_gives_the_scores_of_transformers(ran, texts, images):
    labels = [*ran["labels"], "a", "a longer text than any other one here", "dagger"][:texts]
    asked = {"text": labels, "images": ran["pictures"][:images], "padding": True}
    with torch.no_grad():
        wanted = ran["clip"].clip(**ran["processor"](**asked, return_tensors="pt"))
    inputs = ran["processor"](**asked, return_tensors="np")
    found = ran["session"].run(None, {name: inputs[name] for name in ran["INPUTS"]})
    for name, array in zip(ran["OUTPUTS"], found, strict=True):
        np.testing.assert_allclose(array, wanted[name], rtol=0, atol=1e-4, err_msg=name)


@in_chromium
def test_a_browser_classifies_from_files_alone_without_the_forgotten_name(ran, expected):
    site = ran["folder"] / "site"
    fetch_packages(site)
    html = next(code for _, language, code in FENCE.findall(GUIDE.read_text(encoding="utf-8")) if language == "html")
    (site / "index.html").write_text(html, encoding="utf-8")
    ran["pictures"][0].resize((48, 48)).save(site / "picture.png")  # a browser resizes a little differently
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    home = f"http://127.0.0.1:{server.server_port}/"
    with browsing() as browser:
        page = browser.new_page()
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.add_init_script(SHOW_ERRORS)
        page.goto(home)
        page.wait_for_function("document.querySelector('output').textContent !== '…'", timeout=600_000)
        answer = json.loads(page.inner_text("output"))
    server.shutdown()
    server.server_close()
    assert all(url.startswith((home, "blob:")) for url in asked), asked
    scores = {item["label"]: item["score"] for item in answer}
    wanted = dict(zip(ran["labels"], expected[0].softmax(-1).tolist(), strict=True))
    assert scores == pytest.approx(wanted, abs=0.02)
    assert scores["wine glass"] < 0.01


class Quiet(SimpleHTTPRequestHandler):
    """Sends files and logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def fetch_packages(site: Path) -> None:
    """The files of the two npm packages that the guide names; without npm the test is skipped."""
    named = re.search(r"^npm pack (.+)$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert named
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("transformers.js was not tried: there is no npm here")
    command = [npm, "pack", "--silent", "--prefer-offline", "--pack-destination", str(site), *named[1].split()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"transformers.js was not tried: npm did not fetch it ({done.stderr[-200:]})")
    for name, (digest, files) in TARBALLS.items():
        path = site / name
        assert base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode() == digest, name
        with tarfile.open(path) as archive:
            for file in files:
                content = archive.extractfile(f"package/dist/{file}")
                assert content
                (site / file).write_bytes(content.read())
        path.unlink()
