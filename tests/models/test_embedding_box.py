"""A black box made of two functions: alone, and over HTTP with a server that holds the embedded CLIP.

`HF_UNLEARN_EMBEDDINGS_URL=http://127.0.0.1:7997 pytest tests/models/test_embedding_box.py` asks a server that
is already there, such as infinity-emb with `hf_unlearn/demo/clip` served as `clip`.
"""

import base64
import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch

from hf_unlearn import ClipBlackBox, EmbeddingBlackBox, ForgetAdapter, evaluate, unlearn
from hf_unlearn.edits.vocabulary import vocabulary_features, vocabulary_words
from hf_unlearn.models.adapted_box import AdaptedBox
from hf_unlearn.models.embedded import MODEL_FOLDER
from hf_unlearn.models.text_edit import TextEdit
from tests.support.images import COLOURS, coloured

LABELS = list(COLOURS)
PLAIN = torch.zeros(1, 0, 0)


class Functions:
    """Two functions that embed texts by their letters and images by their colours, and note what they were asked."""

    def __init__(self, width: int = 26) -> None:
        self.width, self.texts, self.images = width, [], []

    def of_texts(self, texts):
        self.texts.append(list(texts))
        return [[0.1 + text.lower().count(chr(97 + column)) for column in range(self.width)] for text in texts]

    def of_images(self, images):
        self.images.append(len(images))
        return np.array([np.resize(np.asarray(image).mean((0, 1)), self.width) for image in images])


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def box(functions) -> EmbeddingBlackBox:
    return EmbeddingBlackBox(functions.of_texts, functions.of_images, batch=8)


def test_vectors_become_scores_and_are_counted(box, functions):
    images = box.add_images(coloured(5))
    scores = box.log_scores(PLAIN, images, LABELS)
    assert functions.images == [8, 8, 4]
    assert scores.shape == (1, 20, 4)
    texts, pictures = (np.array(v, float) for v in (functions.of_texts([f"This is a photo of {n}." for n in LABELS]),
                                                    functions.of_images(coloured(5))))  # fmt: skip
    cosines = (pictures @ texts.T) / np.linalg.norm(pictures, axis=1)[:, None] / np.linalg.norm(texts, axis=1)
    expected = torch.tensor(100 * cosines).log_softmax(-1)
    torch.testing.assert_close(scores[0].double(), expected, rtol=0, atol=1e-3)
    assert box.ledger.values() == (1, 4, 20)  # one query, four texts, twenty images
    torch.testing.assert_close(box.zero_shot(images, LABELS), scores[0])
    assert box.ledger.queries == 1
    assert (box.dim, box.max_n_ctx, box.calls, len(box.token_mean), box.token_std) == (0, 0, 1, 0, 0.0)
    assert (box.width, str(box.device)) == (26, "cpu")


def test_no_text_is_sent_twice_whatever_the_template(box, functions):
    box.text_features(PLAIN, ["red", "red", "blue"])
    box.with_template("{}").text_features(PLAIN, ["This is a photo of red.", "green"])
    assert functions.texts == [["This is a photo of red.", "This is a photo of blue."], ["green"]]
    assert box.ledger.text_tokens == 3


def test_what_is_remembered_has_a_bound_and_the_latest_stay(functions, monkeypatch):
    monkeypatch.setattr("hf_unlearn.models.embedding_box.REMEMBERED", 10)
    box = EmbeddingBlackBox(functions.of_texts, functions.of_images, batch=8)
    plain = box.with_template("{}")
    expected = plain.text_features(
        PLAIN, [f"word {chr(97 + n)}" for n in range(25)]
    )  # more at once than are remembered
    assert expected.shape == (1, 25, 26)
    assert list(map(len, functions.texts)) == [8, 8, 8, 1]
    assert len(box._memory.texts) == 10
    plain.text_features(PLAIN, ["word p"])  # used: it stays
    plain.text_features(PLAIN, [f"new {chr(97 + n)}" for n in range(9)])
    asked = len(functions.texts)
    plain.text_features(PLAIN, ["word p"])
    assert len(functions.texts) == asked


def test_a_context_is_refused(box):
    for contexts in (torch.zeros(1, 1, 0), torch.zeros(1, 0, 32), torch.zeros(2, 4, 32), torch.zeros(0, 0)):
        with pytest.raises(ValueError, match="has no token embeddings, so it can't be searched for a context; use an"):
            box.text_features(contexts, LABELS)
    with pytest.raises(ValueError, match="expected at least one context, got none"):
        box.text_features(torch.zeros(0, 0, 0), LABELS)
    assert box.text_features(torch.zeros(3, 0, 0), LABELS).shape == (3, 4, 26)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[1.0, 2.0]], r"asked for the vectors of 2 texts, answered with the shape \(1, 2\), expected \(2, width\)"),
        ([1.0, 2.0], r"the shape \(2,\), expected \(2, width\)"),
        ([[], []], r"the shape \(2, 0\)"),
        ([[1.0, 2.0], [1.0]], "did not answer with rows of equally many numbers"),
        ([["a", "b"], ["c", "d"]], "did not answer with rows of equally many numbers"),
        (None, "the shape|rows of equally many"),
        ([[1.0, float("nan")], [1.0, 2.0]], "a vector of zeros, or numbers that are not finite"),
        ([[1.0, float("inf")], [1.0, 2.0]], "a vector of zeros, or numbers that are not finite"),
        ([[0.0, 0.0], [1.0, 2.0]], "a vector of zeros, or numbers that are not finite"),
        ({"error": "busy"}, "did not answer with rows of equally many numbers"),
    ],
)
def test_an_answer_that_is_none_is_named(answer, message, functions):
    box = EmbeddingBlackBox(lambda texts: answer, functions.of_images, model_id="theirs")
    with pytest.raises(ValueError, match=message) as caught:
        box.text_features(PLAIN, ["red", "blue"])
    assert str(caught.value).startswith("theirs")
    assert not box._memory.texts


def test_texts_and_images_must_share_a_space(functions):
    box = EmbeddingBlackBox(functions.of_texts, Functions(12).of_images, model_id="theirs")
    box.with_template("{}").text_features(PLAIN, ["red"])
    with pytest.raises(ValueError, match="theirs: vectors of 12 numbers for images, of 26 before"):
        box.add_images(coloured(1))


def test_tensors_of_any_kind_are_taken(functions):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        vectors = torch.tensor(functions.of_texts(["red"]), dtype=dtype).requires_grad_()
        found = EmbeddingBlackBox(lambda texts, v=vectors: v, functions.of_images).text_features(PLAIN, ["red"])
        assert found.dtype == torch.float32
        assert not found.requires_grad
        assert found.norm().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"batch": 0}, "batch must be a whole number of at least 1, got 0"), ({"logit_scale": 0}, "positive number"),
     ({"logit_scale": float("nan")}, "positive number"), ({"template": "photo"}, "a template has one")],
)  # fmt: skip
def test_what_makes_no_box_is_refused(functions, wrong, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingBlackBox(functions.of_texts, functions.of_images, **wrong)


def test_nothing_to_encode_is_refused(box):
    with pytest.raises(ValueError, match="at least one image"):
        box.add_images([])
    with pytest.raises(ValueError, match="at least one name"):
        box.text_features(PLAIN, [])


def test_there_are_no_words_to_take_but_those_given(box):
    with pytest.raises(ValueError, match=r"embeddings has no tokenizer to take words from; pass .* vocabulary="):
        vocabulary_words(box)
    assert vocabulary_features(box, ["drill", "police"], ["{}"]).shape == (1, 2, 26)


# ---- over HTTP


@pytest.fixture(scope="module")
def url():
    """A server of its own process on loopback that holds the embedded CLIP."""
    if given := os.environ.get("HF_UNLEARN_EMBEDDINGS_URL"):
        yield given
        return
    command = [sys.executable, str(Path(__file__).parents[1] / "support" / "embedding_server.py"), str(MODEL_FOLDER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.stdin.close()
            server.wait(600)


def client(url: str, **options) -> EmbeddingBlackBox:
    """What the class's docstring shows."""

    def embed(inputs, modality):
        body = json.dumps({"model": "clip", "input": inputs, "modality": modality}).encode()
        request = Request(f"{url}/embeddings", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=600) as response:
            return [row["embedding"] for row in json.load(response)["data"]]

    def data_uri(image):
        image.save(png := io.BytesIO(), "PNG")
        return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()

    return EmbeddingBlackBox(
        lambda texts: embed(texts, "text"), lambda images: embed([data_uri(i) for i in images], "image"),
        model_id="clip", **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def local() -> ClipBlackBox:
    return ClipBlackBox("embedded", device="cpu")


@pytest.fixture(scope="module")
def remote(url, local) -> EmbeddingBlackBox:
    return client(url, logit_scale=local.model.logit_scale.exp().item())


def test_scores_over_http_are_the_local_models(local, remote):
    here, there = local.add_images(coloured(2)), remote.add_images(coloured(2))
    for template in (local.template, "{}"):
        expected = local.with_template(template).zero_shot(here, [*LABELS, "beer mug"])
        found = remote.with_template(template).zero_shot(there, [*LABELS, "beer mug"])
        torch.testing.assert_close(found.exp(), expected.exp(), rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.tensor(remote.fingerprint()), torch.tensor(local.fingerprint()), rtol=0, atol=2e-4)


def test_an_edit_over_http_is_the_local_models(local, remote):
    torch.manual_seed(0)
    width = remote.width
    edit = TextEdit(torch.randn(width, 2) / width**0.5, torch.randn(2, width) / width**0.5)
    scores = [
        AdaptedBox(box, edit=edit).log_scores(torch.zeros(1, 0, box.dim), box.add_images(coloured(1)), LABELS)
        for box in (local, remote)
    ]
    torch.testing.assert_close(scores[1].exp(), scores[0].exp(), rtol=0, atol=1e-4)
    assert (scores[0][0].exp() - local.zero_shot(local.add_images(coloured(1)), LABELS).exp()).abs().max() > 1e-3


def test_an_edit_is_made_over_http_and_fits_the_local_model(local, remote, tmp_path):
    held = vocabulary_words(local, limit=200)
    there = unlearn(remote, forget=["red"], vocabulary=held).adapter
    here = unlearn(local, forget=["red"], vocabulary=held).adapter
    there.save_pretrained(tmp_path / "adapter")
    adapter = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    assert (adapter.config.base_model, adapter.config.kind) == ("clip", "edit")
    texts = local.text_features(torch.zeros(1, 0, local.dim), [*LABELS, "beer mug"])[0]
    torch.testing.assert_close(adapter.edit(texts), here.edit(texts), rtol=0, atol=1e-3)
    images = coloured(2)
    for box in (local, remote):  # the fingerprint is one and the same
        edited = box.under(adapter)
        assert edited.zero_shot(edited.add_images(images), LABELS).shape == (8, 4)
    assert evaluate(remote, images, adapter) is not None


def test_the_docstrings_example_runs(url, local):
    lines = inspect.getdoc(EmbeddingBlackBox).splitlines()
    code = "\n".join(line[4:] for line in lines[: lines.index("Args:")] if line.startswith("    "))
    known = {
        "EmbeddingBlackBox": EmbeddingBlackBox,
        "unlearn": unlearn,
        "words_to_hold_in_place": vocabulary_words(local)[:60],
    }
    exec(code.replace("http://localhost:7997", url), known)
    assert known["adapter"].config.forget == ["gun"]
    assert len(known["model"].add_images(coloured(1))) == 4


def test_what_the_server_says_of_an_error_comes_through(url):
    with pytest.raises(HTTPError, match="HTTP Error 4") as caught:
        client(f"{url}/nothing").text_features(PLAIN, ["red"])
    assert caught.value.__notes__ == ["while clip was asked for the vectors of 1 texts"]


def test_a_server_that_is_not_there_is_no_answer():
    with pytest.raises(URLError):
        client("http://127.0.0.1:9").add_images(coloured(1))
