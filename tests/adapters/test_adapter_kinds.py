"""An adapter of either kind: what version 1 was, an edit on disk, tampered with, and in use."""

import hashlib
import json
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from hf_unlearn import AdaptedClip, ClipBlackBox, ForgetAdapter, evaluate, unlearn
from hf_unlearn.errors import AdapterError, WrongBaseError
from hf_unlearn.models.text_edit import Gate, TextEdit, digest
from tests.support.command_line import hf_unlearn_here
from tests.support.edited import adapter_of, edit_adapter, random_edit
from tests.support.images import COLOURS, coloured

LABELS = list(COLOURS)
EDIT = "forget_edit.safetensors"


@pytest.fixture(scope="module")
def adapter(clip) -> ForgetAdapter:
    return edit_adapter(clip, forget=["red"], retain=["green"])


@pytest.fixture(scope="module")
def context(clip) -> ForgetAdapter:
    return unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, progress=False).adapter


@pytest.fixture
def folder(adapter, tmp_path) -> Path:
    adapter.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def rewrite(folder: Path, **changes) -> None:
    """Puts values into config.json; `...` takes a key away."""
    path = folder / "config.json"
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}), encoding="utf-8")


def put(folder: Path, edit: TextEdit) -> None:
    save_file({name: tensor.contiguous() for name, tensor in edit.tensors().items()}, folder / EDIT)
    rewrite(folder, weights_sha256=digest(edit) if edit.up.dtype == torch.float32 else "0" * 64)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# Version 1


def test_an_adapter_of_version_1_loads_as_a_context_and_is_saved_as_version_2(tmp_path):
    old = Path(__file__).parent / "version_1" / "tobacco"  # as the first version of this library wrote it
    config = json.loads((old / "config.json").read_text(encoding="utf-8"))
    assert config["format_version"] == 1
    loaded = ForgetAdapter.from_pretrained(old)
    assert (loaded.kind, loaded.edit, loaded.config.format_version) == ("context", None, 2)
    assert loaded.context.shape == (config["n_ctx"], config["dim"])
    assert loaded.config.weights_sha256 == config["context_sha256"]
    assert loaded.config.forget == config["forget"]
    own = [row for row in loaded.report["rows"] if row.get("weights_sha256") == config["context_sha256"]]
    assert len(own) == 1
    loaded.save_pretrained(tmp_path / "new")
    for path in (tmp_path / "new").glob("*.json"):
        assert "context_sha256" not in path.read_text(encoding="utf-8")
    again = ForgetAdapter.from_pretrained(tmp_path / "new")
    assert (again.config, again.report) == (loaded.config, loaded.report)
    assert torch.equal(again.context, loaded.context)


def test_a_version_1_that_holds_another_context_is_refused(context, tmp_path):
    context.save_pretrained(tmp_path / "adapter")
    rewrite(tmp_path / "adapter", format_version=1, weights_sha256=..., kind=..., context_sha256="0" * 64)
    with pytest.raises(AdapterError, match="don't belong together"):
        ForgetAdapter.from_pretrained(tmp_path / "adapter")


def test_the_old_name_of_the_digest_is_unknown_in_version_2(context, tmp_path):
    context.save_pretrained(tmp_path / "adapter")
    rewrite(tmp_path / "adapter", weights_sha256=..., context_sha256=context.config.weights_sha256)
    with (
        pytest.warns(UserWarning, match="ignoring context_sha256"),
        pytest.raises(AdapterError, match="weights_sha256"),
    ):
        ForgetAdapter.from_pretrained(tmp_path / "adapter")


# On disk


def test_an_edit_survives_the_disk_bit_for_bit(clip, adapter, tmp_path):
    judged = adapter.with_report(evaluate(clip, coloured(4, seed=1), adapter).content)
    judged.save_pretrained(tmp_path / "adapter")
    assert names_in(tmp_path / "adapter") == {"config.json", EDIT, "README.md", "report.json", "report.png"}
    tensors = load_file(tmp_path / "adapter" / EDIT)
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} == {
        "up": (torch.float32, (24, 3)), "down": (torch.float32, (3, 24)), "centre": (torch.float32, (24,)),
        "near": (torch.float32, (2, 24)), "bias": (torch.float32, (2,)),
    }  # fmt: skip
    loaded = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    assert (loaded.kind, loaded.context, loaded.config, loaded.report) == ("edit", None, judged.config, judged.report)
    for name, tensor in adapter.edit.tensors().items():
        assert torch.equal(loaded.edit.tensors()[name], tensor)
    loaded.save_pretrained(tmp_path / "again")
    for name in names_in(tmp_path / "adapter"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "adapter" / name).read_bytes()


def test_the_digest_is_of_the_bytes_of_the_tensors_one_after_the_other(adapter):
    edit = adapter.edit
    tensors = (edit.up, edit.down, edit.gate.centre, edit.gate.near, edit.gate.bias)
    content = b"".join(tensor.numpy().tobytes() for tensor in tensors)
    assert adapter.config.weights_sha256 == hashlib.sha256(content).hexdigest()


def test_an_edit_without_a_gate_is_linear_and_is_an_adapter_too(clip, adapter, tmp_path):
    linear = adapter_of(adapter.edit.linear(), clip)
    linear.save_pretrained(tmp_path / "adapter")
    assert set(load_file(tmp_path / "adapter" / EDIT)) == {"up", "down"}
    loaded = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    texts = F.normalize(torch.randn(5, 24), dim=-1)
    torch.testing.assert_close(loaded.edit(texts), F.normalize(texts @ adapter.edit.matrix().T, dim=-1))
    assert (loaded.edit(texts) - adapter.edit(texts)).abs().max() > 0.01


def test_an_edit_of_20_names_at_width_512_is_small(clip, tmp_path):
    names = [f"a name of a thing, number {i}" for i in range(20)]
    adapter_of(random_edit(512, 28), clip, names).save_pretrained(tmp_path / "adapter")
    assert sum(path.stat().st_size for path in (tmp_path / "adapter").iterdir()) < 200_000


@pytest.mark.parametrize("first", ["edit", "context"])
def test_saving_over_an_adapter_of_the_other_kind_leaves_nothing_of_it(adapter, context, tmp_path, first):
    one, two = (adapter, context) if first == "edit" else (context, adapter)
    one.save_pretrained(tmp_path / "adapter")
    two.save_pretrained(tmp_path / "adapter")
    assert names_in(tmp_path / "adapter") == {"config.json", f"forget_{two.kind}.safetensors", "README.md"}
    assert ForgetAdapter.from_pretrained(tmp_path / "adapter").config == two.config


# Tampering and damage


LONG = [{"word": f"w{i}", "of": "red", "similarity": 0.5} for i in range(201)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "both"}, "kind must be one of context, edit, got 'both'"),
        ({"kind": None}, "kind must be one of"),
        ({"kind": ["edit"]}, "kind must be one of"),
        ({"width": ...}, "width must be 1 to 16384, got 'None'"),
        ({"width": 0}, "width must be 1 to 16384, got '0'"),
        ({"width": 24.0}, "width must be"),
        ({"rank": None}, "rank must be 1 to 4096"),
        ({"rank": 4097}, "rank must be 1 to 4096, got '4097'"),
        ({"width": 16_384, "rank": 129}, "rank must be at most 128 at width 16384, got '129'"),
        ({"n_ctx": 4}, "n_ctx must be null for an adapter of kind edit"),
        ({"dim": 32}, "dim must be null for an adapter of kind edit"),
        ({"forget": []}, "forget must be a list of names"),
        ({"retain": None}, "retain must be a list of names"),
        ({"retain": ["red"]}, "'red' is listed twice"),
        ({"neighbours": {}}, "neighbours must be at most 200 objects"),
        ({"neighbours": LONG}, "neighbours must be at most 200 objects"),
        ({"neighbours": ["scarlet"]}, "neighbours must be"),
        ({"neighbours": [{"word": "scarlet", "of": "red"}]}, "neighbours must be"),
        ({"neighbours": [{**LONG[0], "extra": 1}]}, "neighbours must be"),
        ({"neighbours": [{**LONG[0], "word": "x" * 501}]}, "neighbours must be"),
        ({"neighbours": [{**LONG[0], "word": ""}]}, "neighbours must be"),
        ({"neighbours": [{**LONG[0], "of": None}]}, "neighbours must be"),
        ({"neighbours": [{**LONG[0], "similarity": 1.01}]}, "neighbours must be"),
        ({"neighbours": [{**LONG[0], "similarity": float("nan")}]}, "neighbours must be"),
        ({"neighbours": [{**LONG[0], "similarity": True}]}, "neighbours must be"),
    ],
)
def test_a_config_of_an_edit_with_a_wrong_value_is_refused_and_the_key_named(folder, changes, message):
    rewrite(folder, **changes)
    with pytest.raises(AdapterError, match=message):
        ForgetAdapter.from_pretrained(folder)


def test_an_edit_may_name_nothing_that_it_keeps_and_200_neighbours(folder):
    rewrite(folder, retain=[], neighbours=LONG[:200])
    config = ForgetAdapter.from_pretrained(folder).config
    assert (config.retain, config.neighbours) == ([], LONG[:200])


@pytest.mark.parametrize("changes", [{"width": 24}, {"rank": 3}, {"neighbours": LONG[:1]}, {"retain": []}])
def test_a_context_has_nothing_of_an_edit(context, tmp_path, changes):
    context.save_pretrained(tmp_path / "adapter")
    rewrite(tmp_path / "adapter", **changes)
    with pytest.raises(AdapterError, match=f"{next(iter(changes))} must be"):
        ForgetAdapter.from_pretrained(tmp_path / "adapter")


def test_the_file_that_the_kind_asks_for_must_be_there(adapter, context, folder, tmp_path):
    context.save_pretrained(tmp_path / "context")
    shutil.copy(tmp_path / "context" / "forget_context.safetensors", folder)
    ForgetAdapter.from_pretrained(folder)  # a file of the other kind is nobody's business
    (folder / EDIT).unlink()
    with pytest.raises(AdapterError, match=f"no {EDIT}, which an adapter of kind edit has"):
        ForgetAdapter.from_pretrained(folder)
    shutil.copy(tmp_path / "context" / "forget_context.safetensors", folder / EDIT)
    with pytest.raises(
        AdapterError, match=r"expected tensors named 'up', 'down' and those of a gate, got \['context'\]"
    ):
        ForgetAdapter.from_pretrained(folder)


def test_weights_and_config_of_two_kinds_make_no_adapter(adapter, context):
    for weights, config in ((adapter.weights, context.config), (context.weights, adapter.config)):
        with pytest.raises(AdapterError, match=f"an adapter of kind {config.kind}; its weights are of the other"):
            ForgetAdapter(weights, config)


def test_edits_swapped_between_two_adapters_are_refused(clip, folder, tmp_path):
    edit_adapter(clip, seed=1).save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other" / EDIT, folder)
    with pytest.raises(AdapterError, match=f"config.json and {EDIT} don't belong together"):
        ForgetAdapter.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda up, down: (down, up), r"up: expected shape \(24, 3\) in float32, got \(3, 24\)"),
        (lambda up, down: (up[:, :2], down[:2]), r"up: expected shape \(24, 3\)"),
        (lambda up, down: (up, down[:2]), r"down: expected shape \(3, 24\) in float32, got \(2, 24\)"),
        (lambda up, down: (up.half(), down.half()), r"up: expected shape .* got \(24, 3\) float16"),
        (lambda up, down: (up, down.double()), r"down: expected shape .* float64"),
        (
            lambda up, down: (up, down, Gate(torch.zeros(23), torch.ones(2, 24), torch.ones(2))),
            r"centre: expected shape \(24,\)",
        ),
        (
            lambda up, down: (up, down, Gate(torch.zeros(24), torch.ones(2, 23), torch.ones(2))),
            r"near: expected shape \(2, 24\)",
        ),
        (
            lambda up, down: (up, down, Gate(torch.zeros(24), torch.ones(2, 24), torch.ones(3))),
            r"bias: expected shape \(2,\)",
        ),
        (
            lambda up, down: (up, down, Gate(torch.zeros(24), torch.ones(0, 24), torch.ones(0))),
            r"near: expected shape \(1, 24\)",
        ),
        (lambda up, down: (up, down, Gate(torch.zeros(24), torch.tensor(1.0), torch.ones(0))), "near: expected shape"),
        (lambda up, down: (up, down, Gate(torch.zeros(24), torch.ones(1, 24) / 0, torch.ones(1))), "near: holds NaN"),
        (lambda up, down: (up, down * torch.nan), "down: holds NaN or infinite numbers"),
        (lambda up, down: (up / 0, down), "up: holds NaN or infinite numbers"),
        (lambda up, down: (up * 1e4, down), "up: holds numbers beyond 1,000"),
    ],
)
def test_an_edit_of_another_shape_type_or_size_is_refused(adapter, folder, change, message):
    put(folder, TextEdit(*change(adapter.edit.up, adapter.edit.down)))
    with pytest.raises(AdapterError, match=message):
        ForgetAdapter.from_pretrained(folder)


def test_an_extra_or_a_missing_tensor_is_refused(adapter, folder):
    whole = adapter.edit.tensors()
    for tensors in (
        {"up": whole["up"]},
        {**whole, "x": torch.zeros(1)},
        {k: v for k, v in whole.items() if k != "bias"},
    ):
        save_file(tensors, folder / EDIT)
        with pytest.raises(AdapterError, match="expected tensors named 'up', 'down' and those of a gate"):
            ForgetAdapter.from_pretrained(folder)


def test_an_edit_far_too_large_is_refused_before_it_is_read(folder):
    with (folder / EDIT).open("r+b") as file:
        file.truncate(2**30)  # sparse
    with pytest.raises(AdapterError, match=f"{EDIT}: larger than 32 MiB"):
        ForgetAdapter.from_pretrained(folder)


# In use


@pytest.fixture
def adapted(clip, adapter) -> AdaptedClip:
    return AdaptedClip(clip, adapter)


def by_hand(adapter: ForgetAdapter, features: torch.Tensor) -> torch.Tensor:
    """`normalize(t + g(t) U (V t))`, one text at a time, in float64."""
    up, down, centre, near, bias = (tensor.double() for tensor in adapter.edit.tensors().values())
    rows = []
    for text in features.double():
        away = (text - centre) / (text - centre).norm()
        gate = max(1 / (1 + math.exp(float(b - n @ away))) for n, b in zip(near, bias, strict=True))
        rows.append(text + gate * (up @ (down @ text)))
    return torch.stack([row / row.norm() for row in rows])


def test_text_features_are_edited_and_under_no_template(clip, adapter, adapted):
    texts = ["red", "a photo of a red car", "red"]
    plain = clip.with_template("{}").text_features(torch.zeros(1, 0, clip.dim), texts)[0]
    found = adapted.text_features(texts)
    torch.testing.assert_close(found.double(), by_hand(adapter, plain), rtol=0, atol=1e-6)
    assert (found - plain).abs().max() > 0.05
    assert torch.equal(found[0], found[2])
    with adapted.disabled():
        torch.testing.assert_close(adapted.text_features(texts), plain)


def test_text_features_under_a_context_are_those_of_the_context_before_the_texts(clip, context):
    plain = clip.with_template("{}")
    expected = plain.text_features(context.context[None], ["red", "a green cup"])[0]
    torch.testing.assert_close(AdaptedClip(clip, context).text_features(["red", "a green cup"]), expected)


@pytest.mark.parametrize("texts", [[], "red", [" "], ["red", 5]])
def test_text_features_of_no_text_are_refused(adapted, texts):
    with pytest.raises(ValueError, match="text"):
        adapted.text_features(texts)


@pytest.mark.parametrize("kind", ["edit", "context"])
def test_image_features_are_the_bases_whatever_the_kind(clip, adapter, context, kind):
    images = list(coloured(1))
    found = AdaptedClip(clip, adapter if kind == "edit" else context).image_features(images)
    assert torch.equal(found, clip.add_images(images).features)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(4))


def test_classify_compares_edited_texts_with_plain_images(clip_folder, clip, adapter):
    model = clip.with_template("{} on a plate")
    images, scale = list(coloured(2)), float(clip.model.logit_scale.exp())
    texts = by_hand(adapter, model.text_features(torch.zeros(1, 0, clip.dim), LABELS)[0])
    expected = (scale * clip.add_images(images).features.double() @ texts.T).softmax(-1)
    adapted = AdaptedClip(model, adapter)  # an edit leaves the model's template
    torch.testing.assert_close(adapted.classify(images, LABELS).double(), expected, rtol=0, atol=1e-5)
    with adapted.disabled():
        plain = model.zero_shot(clip.add_images(images), LABELS).exp()
        torch.testing.assert_close(adapted.classify(images, LABELS), plain)
    assert (plain - expected).abs().max() > 1e-3


def test_an_edit_is_loaded_with_its_base(clip_folder, adapter, folder):
    adapted = ForgetAdapter.from_pretrained(folder).load_base(clip_folder, device="cpu")
    expected = AdaptedClip(ClipBlackBox(clip_folder, device="cpu"), adapter).classify(list(coloured(1)), LABELS)
    torch.testing.assert_close(adapted.classify(list(coloured(1)), LABELS), expected)


def test_a_wrong_base_is_refused_for_an_edit_too(adapter, other_clip_folder):
    with pytest.raises(WrongBaseError, match="is another model"):
        AdaptedClip(ClipBlackBox(other_clip_folder), adapter)


def test_a_base_of_another_width_is_refused(clip):
    with pytest.raises(WrongBaseError, match="is another model"):
        adapter_of(random_edit(32), clip).check_base(clip)


def test_a_box_that_answers_with_scores_only_is_refused_in_one_sentence(clip, adapter):
    class Scores:
        model_id = "somebody's"

        def fingerprint(self):
            return clip.fingerprint()

    with pytest.raises(ValueError, match="somebody's answers with scores only, and an edit needs its text features"):
        adapter.applied_to(Scores())


def test_a_context_and_an_edit_are_in_effect_together_in_either_order(clip, adapter, context):
    handle, nothing = clip.add_images(coloured(1)), torch.zeros(1, 0, clip.dim)
    texts = clip.text_features(context.context[None], LABELS)[0]
    scale = float(clip.model.logit_scale.exp())
    expected = (scale * handle.features.double() @ by_hand(adapter, texts).T).log_softmax(-1)
    for one, two in ((adapter, context), (context, adapter)):
        scores = clip.under(one).under(two).log_scores(nothing, handle, LABELS)[0]
        torch.testing.assert_close(scores.double(), expected, rtol=0, atol=1e-5)


# Vectors of one's own


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_vectors_are_edited_as_features_are_and_keep_shape_and_precision(adapter, dtype):
    vectors = np.random.default_rng(0).normal(size=(5, 24)).astype(dtype)
    before = vectors.copy()
    expected = by_hand(adapter, F.normalize(torch.from_numpy(vectors.astype(np.float64)), dim=-1))
    found = adapter.edit_vectors(vectors)
    assert found.dtype == (np.float64 if dtype == np.float64 else np.float32)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-12 if dtype == np.float64 else 1e-6)
    np.testing.assert_allclose(adapter.edit_vectors(vectors[2]), expected[2].numpy(), atol=1e-6)
    assert adapter.edit_vectors(vectors[2]).shape == (24,)
    assert adapter.edit_vectors(vectors[:0]).shape == (0, 24)
    assert np.array_equal(vectors, before)


def test_the_length_of_a_vector_says_nothing(adapter):
    vector = np.random.default_rng(0).normal(size=24)
    for size in (1e-300, 1e-9, 7.0, 1e300):
        np.testing.assert_allclose(adapter.edit_vectors(size * vector), adapter.edit_vectors(vector), atol=1e-12)


def test_vectors_are_those_of_text_features(clip, adapter):
    plain = clip.with_template("{}").text_features(torch.zeros(1, 0, clip.dim), LABELS)[0]
    expected = AdaptedClip(clip, adapter).text_features(LABELS)
    np.testing.assert_allclose(adapter.edit_vectors(plain.numpy()), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones((2, 23)), r"expected vectors of shape \(n, 24\) in floats, got \(2, 23\) float64"),
        (np.ones((2, 3, 24)), r"got \(2, 3, 24\) float64"),
        (np.ones(()), r"got \(\) float64"),
        (np.ones((2, 24), np.int64), r"got \(2, 24\) int64"),
        (np.full((2, 24), "x"), r"expected vectors of shape"),
        (np.where(np.arange(48).reshape(2, 24) == 30, np.nan, 1.0), "vector 1 holds NaN or infinite numbers"),
        (np.where(np.arange(48).reshape(2, 24) == 3, -np.inf, 1.0), "vector 0 holds NaN or infinite numbers"),
        (np.arange(2.0)[::-1, None] * np.ones((2, 24)), "vector 1 is zero"),
    ],
)
def test_what_are_no_vectors_is_refused_with_what_came(adapter, vectors, message):
    with pytest.raises(ValueError, match=message):
        adapter.edit_vectors(vectors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_vectors_may_come_as_a_model_returns_them(adapter, dtype):
    vectors = torch.randn(3, 24, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    found = adapter.edit_vectors(vectors)
    assert found.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    np.testing.assert_allclose(found, adapter.edit_vectors(vectors.detach().double().numpy()), atol=1e-6)


def test_a_context_can_not_be_applied_to_vectors(context):
    with pytest.raises(ValueError, match="this adapter is a context, which works inside the text tower"):
        context.edit_vectors(np.ones((1, 24)))


def test_the_config_of_an_edit_is_plain_json(adapter):
    assert json.loads(json.dumps(asdict(adapter.config), allow_nan=False)) == asdict(adapter.config)
    assert replace(adapter.config, seed=5).kind == "edit"


def test_the_command_line_judges_and_exports_an_edit(clip_folder, folder, image_folder, tmp_path):
    done = hf_unlearn_here("evaluate", "--adapter", folder, "--model", clip_folder, "--data", image_folder, "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert list(rows) == ["zero-shot", "label-mask", "edit"]
    assert (rows["label-mask"]["short_list_1"], rows["edit"]["queries"]) == (0, 0)
    done = hf_unlearn_here("export", folder, tmp_path / "hard", "--base", clip_folder, "--hardened")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "an edit needs no hardening" in done.stderr
    done = hf_unlearn_here("export", folder, tmp_path / "out", "--base", clip_folder)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").is_file()
