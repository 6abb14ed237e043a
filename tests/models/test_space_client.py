"""The remote black box against a real Gradio server: the same answers, faults survived, bounds kept."""

import re
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from hf_unlearn import LabeledImages, ReferenceBlackBox, SpaceBlackBox, unlearn
from hf_unlearn.edits.by_score.reference_images import make_reference_images
from hf_unlearn.errors import BudgetSpentError, InputError, PromptTooLongError, RemoteError
from hf_unlearn.models import space_client as remote
from hf_unlearn.training.result import StopReason
from tests.support.gradio_http import free_port, launched
from tests.support.images import coloured

BASE = "tiny"
NAMES = ["red", "green", "blue", "grey"]


def serving(root, folder: str, port: int = 0, queries: int = 100_000):
    from space.ui.app import build

    return launched(build(root, {BASE: folder}, queries), port)


@pytest.fixture(scope="module")
def address(clip_folder, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("root"), clip_folder) as url:
        yield url


@pytest.fixture(scope="module")
def box(address) -> SpaceBlackBox:
    return SpaceBlackBox(address, model=BASE)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT", 0.05)


def contexts(dim: int, count: int = 3) -> torch.Tensor:
    return 0.1 * torch.randn(count, 2, dim, generator=torch.Generator().manual_seed(count))


def train(model, **changes):
    arguments = {"forget": ["red"], "max_queries": 45, "shots": 2, "progress": False, **changes}
    return unlearn(model, coloured(6), **arguments)


def test_it_says_the_same_about_the_model_as_the_model_does(box, clip):
    assert (box.dim, box.max_n_ctx, box.token_std) == (clip.dim, min(clip.max_n_ctx, 64), clip.token_std)
    assert torch.equal(box.token_mean, clip.token_mean)
    assert box.fingerprint() == clip.fingerprint()
    assert box.with_template("{}").max_n_ctx == min(clip.with_template("{}").max_n_ctx, 64)


@pytest.mark.parametrize("method", ["proximal", "lcs-cma"])
def test_the_adapter_trained_through_it_is_the_local_one_bit_for_bit(box, clip, method):
    there, here = train(box, method=method), train(clip, method=method)
    assert torch.equal(there.adapter.context, here.adapter.context)
    theirs, ours = there.adapter.config.ledger, here.adapter.config.ledger
    assert {key: theirs[key] for key in ("queries", "text_tokens", "image_encodings")} == {
        key: ours[key] for key in ("queries", "text_tokens", "image_encodings")
    }
    there.adapter.check_base(clip)


def test_images_are_sent_once_and_a_population_travels_in_one_call(box):
    asked = []
    call = box._connection.call
    box._connection.call = lambda api, *arguments: asked.append(api) or call(api, *arguments)
    try:
        train(box, method="lcs-cma", max_queries=40)
    finally:
        box._connection.call = call
    assert asked == ["/images", "/score", "/score"]


def test_more_images_than_one_call_takes_are_one_set(box, clip):
    images = coloured(10)
    got = box.log_scores(contexts(box.dim), box.add_images(images), NAMES)
    assert torch.allclose(got, clip.log_scores(contexts(box.dim), clip.add_images(images), NAMES), atol=1e-5)


def test_no_other_session_can_ask_about_images(address, box):
    sent = box.add_images(coloured(1))
    other = SpaceBlackBox(address, model=BASE)
    answer = other._connection.call("/score", BASE, box.template, sent.handle, NAMES, "", [1, 0, box.dim])
    assert answer == {"missing": True}
    assert box.add_images(coloured(1)).handle != sent.handle  # random, not a hash of what was sent


def test_the_servers_query_budget_is_honoured_and_the_best_so_far_kept(clip_folder, tmp_path):
    with serving(tmp_path, clip_folder, queries=50) as url:
        result = train(SpaceBlackBox(url, model=BASE), method="lcs-cma", max_queries=200)
        assert result.reason is StopReason.REFUSED
        assert result.history[-1].queries == 40
        spent = SpaceBlackBox(url, model=BASE)
        with pytest.raises(BudgetSpentError, match="answers 50 more queries"):
            spent.log_scores(contexts(spent.dim, 51), spent.add_images(coloured(1)), NAMES)


def test_a_restarted_space_gets_the_images_again(clip_folder, clip, tmp_path):
    port, images = free_port(), coloured(2)
    with serving(tmp_path, clip_folder, port) as url:
        box = SpaceBlackBox(url, model=BASE)
        sent = box.add_images(images)
        before = box.log_scores(contexts(box.dim), sent, NAMES)
    with serving(tmp_path, clip_folder, port):
        assert torch.equal(box.log_scores(contexts(box.dim), sent, NAMES), before)
    assert torch.allclose(before, clip.log_scores(contexts(box.dim), clip.add_images(images), NAMES), atol=1e-5)


class Flaky(threading.Thread):
    """A TCP proxy that drops some connections and answers 503 to others."""

    def __init__(self, target: str, every: int) -> None:
        super().__init__(daemon=True)
        self.every, self.count, self.hurt = every, 0, 0
        self.target = ("127.0.0.1", int(target.rsplit(":", 1)[1]))
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"

    def run(self) -> None:
        while True:
            try:
                visitor, _ = self.server.accept()
            except OSError:
                return
            self.count += 1
            if self.every and self.count % self.every == 0:
                self.hurt += 1
                if self.hurt % 2:
                    visitor.recv(65536)
                    visitor.sendall(
                        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                visitor.close()
                continue
            server = socket.create_connection(self.target)
            for source, sink in ((visitor, server), (server, visitor)):
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


def test_drops_and_server_errors_are_survived_and_change_nothing(address, clip):
    proxy = Flaky(address, every=5)
    proxy.start()
    try:
        there = train(SpaceBlackBox(proxy.url, model=BASE), method="lcs-cma", max_queries=60)
    finally:
        proxy.server.close()
    assert proxy.hurt >= 3, "the proxy hurt nobody"
    assert torch.equal(there.adapter.context, train(clip, method="lcs-cma", max_queries=60).adapter.context)


def test_a_space_that_is_not_there_is_reported_in_one_sentence():
    with pytest.raises(RemoteError, match="no answer after 2 tries"):
        SpaceBlackBox(f"http://127.0.0.1:{free_port()}", tries=2)


def test_a_missing_client_is_reported_with_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio_client", None)
    monkeypatch.setitem(sys.modules, "gradio_client.exceptions", None)
    with pytest.raises(RemoteError, match=r"needs gradio_client: pip install 'hf_unlearn\[remote\]'"):
        SpaceBlackBox("user/space", tries=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "other"}, "offers tiny, not 'other'"),
        ({"model": BASE, "template": "no braces"}, "template has one"),
    ],
)
def test_what_the_space_does_not_offer_is_refused_in_words(address, arguments, message):
    with pytest.raises(ValueError, match=message):
        SpaceBlackBox(address, **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [65, 1, 32]}, "up to 64 contexts"),
        ({"shape": [1, 65, 32]}, "up to 64 contexts of up to 64 tokens"),
        ({"shape": [1, 1, 33]}, "32 wide"),
        ({"shape": [1, 1, 32], "contexts": "AAAA"}, "as their shape says"),
        ({"shape": [1, 1, 32], "contexts": "not base64"}, "not base64"),
        ({"shape": [1, -1, 32]}, "up to 64 contexts"),
        ({"shape": "abc"}, "three numbers"),
        ({"names": []}, "Expected 1 to 1,000 names"),
        ({"names": ["x" * 201]}, "up to 200 characters"),
        ({"names": ["x"] * 1001}, "1,000 names"),
        ({"template": "{} {}"}, "template has one"),
    ],
)
def test_requests_out_of_bounds_are_refused_in_words(box, change, message):
    sent = box.add_images(coloured(1))
    request = {"template": box.template, "names": NAMES, "contexts": "", "shape": [1, 0, 32], **change}
    with pytest.raises(ValueError, match=message):
        box._connection.call(
            "/score", BASE, request["template"], sent.handle, request["names"], request["contexts"], request["shape"]
        )


def test_a_prompt_that_is_too_long_is_told_from_every_other_refusal(box):
    images = box.add_images(coloured(1))
    with pytest.raises(PromptTooLongError, match="the text tower of"):
        box.log_scores(contexts(box.dim, 1), images, ["red", "x" * 75])
    with pytest.raises(InputError, match="Expected 1 to") as refused:
        box.log_scores(contexts(box.dim, 1), images, [str(number) for number in range(1_001)])
    assert not isinstance(refused.value, PromptTooLongError)


def test_what_is_no_image_is_refused(box):
    with pytest.raises(ValueError, match="not an image"):
        box._connection.call("/images", BASE, "", ["AAAA"])
    with pytest.raises(ValueError, match="1 to 32 images"):
        box._connection.call("/images", BASE, "", [])
    with pytest.raises(ValueError, match="at least one image"):
        box.add_images([])


def test_a_whole_run_through_it_can_be_judged_through_it(box):
    from hf_unlearn import evaluate

    images: LabeledImages = coloured(4, seed=1)
    report = evaluate(box, images, train(box).adapter)
    assert [row["name"] for row in report.rows] == ["zero-shot", "label-mask", "proximal"]


def test_scores_of_a_space_are_enough_for_an_edit(box, clip):
    words = [first + vowel + last for first in "bdgkmp" for vowel in "aeiou" for last in ("n", "rt")]
    there, here = (ReferenceBlackBox(model, make_reference_images(64), words) for model in (box, clip))
    adapter = unlearn(there, forget=["gun"]).adapter
    plain, remote_edit, local_edit = (
        model.with_template("a {}") for model in (there, there.under(adapter), here.under(adapter))
    )
    before, after = (model.text_features(torch.zeros(1, 0, 0), ["gun"]) for model in (plain, remote_edit))
    assert (before * after).sum() < 0.9
    scores = [
        model.log_scores(torch.zeros(1, 0, 0), model.add_images(coloured(1)), ["gun", "red", "cow"])
        for model in (remote_edit, local_edit)
    ]
    torch.testing.assert_close(*scores, rtol=0, atol=1e-4)


def test_the_readmes_lines_run(address):
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "SpaceBlackBox" in block)
    code = code.replace('"user/space"', f'"{address}", model="{BASE}"')
    scope: dict = {}
    exec(code, scope)
    assert scope["model"].dim == 32


@pytest.fixture(scope="module")
def liar():
    """A Space that answers whatever it is asked with the JSON put into the list, and its address."""
    import gradio as gr

    answer: list = []
    with gr.Blocks() as demo:
        for api, count in (("describe", 2), ("images", 3), ("score", 6)):
            inputs = [gr.JSON() for _ in range(count)]
            gr.Button().click(lambda *_: answer[0], inputs, gr.JSON(), api_name=api)
    port = free_port()
    demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", server_port=port)
    yield f"http://127.0.0.1:{port}", answer
    demo.close()


FACTS = {
    "model_id": "x", "revision": None, "dim": 2, "max_n_ctx": 4, "token_mean": "AACAPwAAgD8=", "token_std": 1.0,
    "fingerprint": [[0.5, 0.5]], "limits": {"population": 4}, "queries_left": 100, "missing": False, "handle": "h",
    "text_tokens": 1, "log_scores": "AADAfwAAwH8=",
}  # fmt: skip


@pytest.mark.parametrize(
    "answer",
    [{}, [], {**FACTS, "dim": "wide"}, {**FACTS, "token_mean": "%"}, {**FACTS, "token_mean": "AACAPw=="},
     {**FACTS, "fingerprint": 3}, {**FACTS, "limits": None}, {**FACTS, "max_n_ctx": None}, {**FACTS, "dim": -1},
     {**FACTS, "token_std": "nan"}, {**FACTS, "fingerprint": [["inf"]]}, {**FACTS, "limits": {"population": "9" * 30}},
     {**FACTS, "queries_left": -1}, {**FACTS, "token_mean": "AACA/wAAgD8="}],
)  # fmt: skip
def test_a_space_that_answers_nonsense_is_reported_in_one_sentence(liar, answer):
    url, answers = liar
    answers[:] = [answer]
    with pytest.raises(RemoteError, match="invalid response of a black box"):
        SpaceBlackBox(url, tries=1)


def test_a_space_that_always_says_it_has_forgotten_the_images_is_given_up(liar):
    url, answers = liar
    answers[:] = [{**FACTS, "missing": True}]
    box = SpaceBlackBox(url, tries=1)
    with pytest.raises(RemoteError, match="forgets images as soon as they are sent"):
        box.add_images(coloured(1).select([0]))


@pytest.mark.parametrize(
    "scores", ["AADAfwAAwH8=", "AACAfwAAgH8=", "AACAPw==", None], ids=["NaN", "infinite", "too few", "none"]
)
def test_scores_that_are_none_are_reported_in_one_sentence(liar, scores):
    url, answers = liar
    answers[:] = [{**FACTS, "log_scores": scores}]
    box = SpaceBlackBox(url, tries=1)
    sent = box.add_images(coloured(1).select([0]))
    with pytest.raises(RemoteError, match="invalid response of a black box"):
        box.log_scores(torch.zeros(1, 1, 2), sent, ["a", "b"])
