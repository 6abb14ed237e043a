"""Checkpoints of open_clip: the features that open_clip computes, the whole way to an export, and what is refused.

`benchmarks/make_open_clip_fixtures.py` made tests/fixtures/open_clip with open_clip itself.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from hf_unlearn import ClipBlackBox, ForgetAdapter, unlearn
from hf_unlearn.errors import HfUnlearnError, InputError, StorageError
from hf_unlearn.models.loading import open_checkpoint
from hf_unlearn.models.prompts import PromptReader
from tests.support.command_line import hf_unlearn_here
from tests.support.images import COLOURS, coloured
from tests.support.open_clip import FIXTURES, KINDS, change_config, prepare_images, write_open_clip

INPUTS = json.loads((FIXTURES / "inputs" / "inputs.json").read_text(encoding="utf-8"))
PIXELS = load_file(FIXTURES / "inputs" / "pixels.safetensors")


@pytest.fixture
def stored(tmp_path):
    return lambda kind="clip": write_open_clip(kind, tmp_path / kind)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_features_are_those_of_open_clip(stored, kind):
    model = open_checkpoint(str(stored(kind))).load_weights(torch.float32)
    expected = load_file(FIXTURES / kind / "expected.safetensors")
    image = model.get_image_features(pixel_values=expected["pixels"]).pooler_output
    text = model.get_text_features(input_ids=expected["text"]).pooler_output
    assert relative(image, expected["image_features"]) <= 1e-5
    assert relative(text, expected["text_features"]) <= 1e-5
    logits = model(pixel_values=expected["pixels"], input_ids=expected["text"]).logits_per_image
    assert relative(logits, expected["logits"]) <= 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_goes_all_the_way(stored, kind, tmp_path):
    folder = str(stored(kind))
    model = ClipBlackBox(folder, device="cpu")
    made = unlearn(model, coloured(4), forget=["red"], max_queries=20, shots=2, n_ctx=2, progress=False)
    made.adapter.save_pretrained(tmp_path / "adapter")
    adapter = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    adapted = adapter.load_base(folder, device="cpu")
    expected = adapted.classify(list(coloured(1)), list(COLOURS))
    adapter.export(tmp_path / "export", base=folder)
    exported = ClipBlackBox(str(tmp_path / "export"), device="cpu")
    found = exported.zero_shot(exported.add_images(coloured(1)), list(COLOURS)).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


CONFIG_REFUSED = [
    ("clip", "text_cfg", {"hf_model_name": "roberta-base"}, "Hugging Face text tower"),
    ("clip", "text_cfg", {"embed_cls": True}, "class token of CoCa's text tower"),
    ("clip", "text_cfg", {"pool_type": "last"}, "pooling"),
    ("clip", "text_cfg", {"no_causal_mask": True}, "text tower without causal mask"),
    ("clip", "text_cfg", {"proj_bias": True}, "bias of the text projection"),
    ("clip", "text_cfg", {"ls_init_value": 0.1}, "LayerScale"),
    ("clip", "text_cfg", {"proj_type": "none"}, "proj_type: 'none'"),
    ("clip", "text_cfg", {"new_option": 1}, "new_option: 1"),
    ("clip", "vision_cfg", {"timm_model_name": "convnext_base"}, "timm image tower"),
    ("clip", "vision_cfg", {"layers": [3, 4, 6, 3]}, "ResNet"),
    ("clip", "vision_cfg", {"pool_type": "avg"}, "pooling"),
    ("clip", "vision_cfg", {"attentional_pool": True}, "attentional pooling"),
    ("clip", "vision_cfg", {"qk_norm": True}, "qk_norm"),
    ("clip", "vision_cfg", {"image_size": [24, 48]}, "image is not square"),
    ("clip", "vision_cfg", {"act_kwargs": {"approximate": "other"}}, "act_kwargs"),
    ("clip", "vision_cfg", {"norm_kwargs": {"elementwise_affine": False}}, "norm_kwargs"),
    ("clip", "model", {"multimodal_cfg": {}}, "CoCa decoder"),
    ("clip", "model", {"init_logit_bias": -10}, "logit bias"),
    ("clip", "preprocess", {"resize_mode": "longest"}, "longest"),
    ("clip", "preprocess", {"interpolation": "lanczos"}, "lanczos"),
    ("siglip", "vision_cfg", {"timm_pool": "avg"}, "timm_pool"),
    ("siglip", "vision_cfg", {"timm_proj": "linear"}, "timm_proj"),
    ("siglip", "text_cfg", {"pool_type": "argmax"}, "pooling"),
    ("siglip", "text_cfg", {"no_causal_mask": False}, "causal mask"),
    ("siglip", "text_cfg", {"tokenizer_kwargs": {"clean": "other"}}, "tokenizer has unknown options"),
    ("siglip", "text_cfg", {"tokenizer_kwargs": {"strip_sep_token": True}}, "tokenizer has unknown options"),
    ("siglip", "text_cfg", {"tokenizer_mode": "clips"}, "special reading of texts (tokenizer_mode: 'clips')"),
    ("siglip", "text_cfg", {"context_length": 128}, "attends to padding and reads 128 tokens"),
    ("siglip", "preprocess", {"mean": [0.5, 0.5]}, "three means"),
    ("clip", "preprocess", {"std": [0.5, 0, 0.5]}, "three std"),
    ("clip", "text_cfg", {"tokenizer_kwargs": {"clean": "whitespace"}}, "tokenizer has unknown options"),
    ("clip", "text_cfg", {"tokenizer_kwargs": "lower"}, "tokenizer_kwargs in its open_clip_config.json is 'lower'"),
    ("clip", "text_cfg", {"tokenizer_kwargs": {"reduction_mask": "random"}}, "tokenizer has unknown options"),
]


@pytest.mark.parametrize(("kind", "part", "values", "said"), CONFIG_REFUSED)
def test_what_transformers_does_not_compute_is_refused_by_name(stored, kind, part, values, said):
    folder = stored(kind)
    change_config(folder, part, **values)
    with pytest.raises(InputError) as refused:
        ClipBlackBox(str(folder), device="cpu")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda w: {key: value for key, value in w.items() if key != "text_projection"}, "lack 1 tensors"),
        (lambda w: w | {"extra": torch.ones(1)}, "hold 'extra', which neither"),
        (lambda w: w | {"text.ln_final.bias": torch.ones(24)}, "twice"),
        (lambda w: w | {"visual.proj": torch.ones(24, 3)}, "expected (24, 24) by its config"),
        (lambda w: w | {"visual.ln_post.bias": torch.full((24,), torch.nan)}, "not finite"),
        (
            lambda w: w | {"visual.transformer.resblocks.2.ln_1.bias": torch.ones(24)},
            "3 layers of the image tower, its config says 2",
        ),
        (lambda w: w | {"visual.ln_pre.scale": torch.ones(24)}, "its config does not have"),
    ],
)
def test_every_weight_is_used_once_in_its_shape(stored, damage, said):
    path = stored() / "open_clip_model.safetensors"
    save_file(damage(load_file(path)), path)
    with pytest.raises(StorageError) as refused:
        ClipBlackBox(str(path.parent), device="cpu")
    assert said in str(refused.value)


def test_weights_under_their_other_name_load(stored):
    folder = stored()
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.safetensors")
    assert ClipBlackBox(str(folder), device="cpu").family == "clip"


@pytest.mark.parametrize("tower", ["text_cfg", "vision_cfg"])
def test_a_config_that_asks_for_countless_layers_is_refused_at_once(stored, tower):
    folder = stored()
    change_config(folder, tower, layers=10**9)
    with pytest.raises(StorageError, match=r"2 layers of the (text|image) tower, its config says 1000000000; get both"):
        ClipBlackBox(str(folder), device="cpu")


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("tokenizer.json", "lacks the files of its tokenizer"),
        ("tokenizer_config.json", r"its tokenizer \(tokenizer_config.json and tokenizer.json\)"),
        ("open_clip_model.safetensors", "lacks open_clip_model.safetensors; get the whole"),
    ],
)
def test_missing_files_are_named(stored, gone, said):
    folder = stored()
    (folder / gone).unlink()
    with pytest.raises(HfUnlearnError, match=said):
        ClipBlackBox(str(folder), device="cpu")


def test_where_both_formats_are_transformers_wins(clip_folder, stored, tmp_path):
    both = Path(shutil.copytree(clip_folder, tmp_path / "both"))
    shutil.copy(stored() / "open_clip_config.json", both)
    assert open_checkpoint(str(both)).open_clip is None


def pixels_of(folder: Path, image: str) -> torch.Tensor:
    """What the image processor of a checkpoint makes of one of the images."""
    processor = open_checkpoint(str(folder)).load_processor().image_processor
    return processor(Image.fromarray(PIXELS[image].numpy()), return_tensors="pt")["pixel_values"][0]


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("way", list(INPUTS["prepared"]))
def test_pixels_are_those_of_open_clip(stored, kind, way):
    folder = stored(kind)
    prepare_images(folder, INPUTS["prepared"][way])
    for image in ("wide", "tall"):
        torch.testing.assert_close(pixels_of(folder, image), PIXELS[f"{way}/{image}"], rtol=0, atol=2e-6)


def test_a_crop_that_leaves_an_odd_number_of_pixels_may_be_one_pixel_aside(stored):
    """The middle of 39 pixels begins at 7.5: transformers rounds it down, open_clip to 8."""
    folder = stored()
    prepare_images(folder, {})
    found, expected = pixels_of(folder, "odd"), PIXELS["usual/odd"]
    torch.testing.assert_close(found[:, :, 1:], expected[:, :, :-1], rtol=0, atol=2e-6)


@pytest.mark.parametrize("reading", list(INPUTS["read"]))
def test_token_ids_are_those_of_open_clip(stored, reading):
    """CLIP's text tower ignores padding, SigLIP's attends to it."""
    folder = stored(kind := reading.partition("-")[0])
    shutil.copytree(FIXTURES / "inputs" / kind, folder, dirs_exist_ok=True)
    change_config(folder, "text_cfg", **{"hf_tokenizer_name": None, "tokenizer_kwargs": {}} | INPUTS["read"][reading])
    checkpoint = open_checkpoint(str(folder))
    reader = PromptReader(checkpoint.load_processor().tokenizer, kind, checkpoint.config, 1_000)
    for text, expected in INPUTS["ids"][reading].items():
        (row,), _, _ = reader.with_context([reader.ids(text)], 0)
        end = len(row) if kind == "siglip" else row.index(reader.eos) + 1
        assert (row[:end], len(row)) == (expected[:end], len(expected) if kind == "siglip" else end), text


@pytest.mark.parametrize("kind", ["clip-shapes", "siglip"])
@torch.no_grad()
def test_a_converted_checkpoint_is_the_same_model(stored, kind, tmp_path, capfd):
    folder = stored(kind)
    done = hf_unlearn_here("convert", folder, tmp_path / "made")
    assert done.returncode == 0, done.stderr
    assert "may result in unexpected behavior" not in capfd.readouterr().err  # transformers' warning of odd ids
    models = [ClipBlackBox(str(path), device="cpu") for path in (folder, tmp_path / "made")]
    found, expected = (m.zero_shot(m.add_images(coloured(1)), list(COLOURS)) for m in models)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    for text in INPUTS["ids"]["clip"]:
        assert models[0].reader.ids(text) == models[1].reader.ids(text), text
    again = hf_unlearn_here("convert", tmp_path / "made", tmp_path / "again")
    assert "checkpoint of transformers already" in again.stderr
