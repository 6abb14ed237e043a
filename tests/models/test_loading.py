"""What is refused of a checkpoint that is not whole, with what is missing; where in a folder it is."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_unlearn import ClipBlackBox, ForgetAdapter, unlearn
from hf_unlearn.errors import HfUnlearnError, InputError, StorageError
from hf_unlearn.models.checkpoint_checks import check_files, check_safetensors
from tests.support.families import FAMILIES
from tests.support.images import coloured

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 598641023\n"


@pytest.fixture
def broken(family_folder, tmp_path):
    """A copy of a base of a family, to be broken."""

    def copy(family: str = "clip") -> Path:
        return Path(shutil.copytree(family_folder(family), tmp_path / family))

    return copy


def refusal(folder: Path, **options) -> str:
    with pytest.raises(StorageError) as refused:
        ClipBlackBox(str(folder), device="cpu", **options)
    assert str(refused.value).startswith(str(folder))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def rewrite(folder: Path, change) -> None:
    """Writes the weights that `change` makes of the weights."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def without(part: str):
    return lambda weights: {key: value for key, value in weights.items() if part not in key}


@pytest.mark.parametrize("part", ["vision_model", "text_model", "logit_scale", "layers.1.mlp.fc1.bias"])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_are_missing_are_named(broken, family, part):
    folder = broken(family)
    gone = {"chinese_clip": {"layers.1.mlp.fc1.bias": "layer.1.output.dense.bias"}}.get(family, {}).get(part, part)
    rewrite(folder, without(gone))
    assert f"its weights lack {'1 tensors' if part == 'logit_scale' else ''}" in (said := refusal(folder))
    assert gone in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("text_projection"), "lack 1 tensors, 'text_projection.weight' among them; get a whole checkpoint"),
        (lambda w: {f"module.{key}": value for key, value in w.items()}, "its names begin with 'module.', so remove"),
        (lambda w: {f"model.clip.{key}": value for key, value in w.items()}, "its names begin with 'model.', so"),
        (lambda w: w | {"vision_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 32)},
         "hold an unmerged LoRA"),
        (lambda w: {f"base_model.model.{k.replace('q_proj.', 'q_proj.base_layer.')}": v for k, v in w.items()}
         | {"base_model.model.text_model.encoder.layers.0.self_attn.q_proj.lora_A.default.weight": torch.ones(4, 32)},
         "hold an unmerged LoRA"),
        (lambda w: w | {"text_model.encoder.layers.2.layer_norm1.weight": torch.ones(32)},
         "1 tensors of layers that its config does not have"),
    ],
)  # fmt: skip
def test_weights_of_another_shape_of_model_are_refused(broken, change, said):
    folder = broken()
    rewrite(folder, change)
    assert said in refusal(folder)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_weight_that_is_not_finite_is_named(broken, family, value):
    folder = broken(family)
    name = next(key for key in load_file(folder / "model.safetensors") if "mlp.fc1.weight" in key)

    def spoil(weights):
        weights[name][3, 5] = value
        return weights

    rewrite(folder, spoil)
    assert f"its weight {name!r} is not finite (NaN or infinity) in float32" in refusal(folder)


def test_a_weight_that_float16_does_not_hold_is_refused_in_float16_alone(broken):
    folder = broken()

    def grow(weights):
        weights["text_projection.weight"][0, 0] = 1e6
        return weights

    rewrite(folder, grow)
    assert ClipBlackBox(str(folder), device="cpu").width == 24
    assert "not finite (NaN or infinity) in float16; get the weights again, or load them in float32" in refusal(
        folder, dtype="float16"
    )


def test_huge_weights_whose_sum_is_infinite_load(broken):
    folder = broken()

    def grow(weights):
        weights["vision_model.post_layernorm.bias"][:] = 3e38
        return weights

    rewrite(folder, grow)
    assert ClipBlackBox(str(folder), device="cpu").width == 24


def test_a_scale_whose_exponential_is_infinite_is_refused(broken):
    folder = broken()
    rewrite(folder, lambda weights: weights | {"logit_scale": torch.tensor(1000.0)})
    assert "its logit_scale is 1e+03, whose exponential is not finite" in refusal(folder)


def test_position_ids_which_old_checkpoints_hold_are_harmless(broken):
    folder = broken()
    ids = {
        f"{tower}_model.embeddings.position_ids": torch.arange(n)[None] for tower, n in (("text", 77), ("vision", 10))
    }
    rewrite(folder, lambda weights: weights | ids)
    assert ClipBlackBox(str(folder), device="cpu").width == 24


# Files


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("gone", [["tokenizer.json"], ["tokenizer.json", "tokenizer_config.json"]])
def test_a_base_without_a_tokenizer_is_refused(broken, family, gone):
    folder = broken(family)
    for name in gone:
        (folder / name).unlink()
    assert "it lacks the files of its tokenizer (tokenizer.json, or vocab.json and merges.txt)" in refusal(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_without_an_image_processor_is_refused(broken, family):
    folder = broken(family)
    said = "it lacks the files of its image processor (preprocessor_config.json)"
    (folder / "processor_config.json").unlink()
    assert said in refusal(folder)
    (folder / "processor_config.json").write_text('{"processor_class": "CLIPProcessor"}', encoding="utf-8")
    assert said in refusal(folder)


def test_any_form_of_a_tokenizer_will_do_and_half_of_one_will_not():
    for files in (["vocab.json", "merges.txt"], ["vocab.txt"], ["spiece.model"], ["sentencepiece.bpe.model"]):
        check_files("x", [*files, "preprocessor_config.json"])
    for files in (["vocab.json"], ["merges.txt"], ["tokenizer_config.json"]):
        with pytest.raises(StorageError, match="it lacks the files of its tokenizer"):
            check_files("x", [*files, "preprocessor_config.json"])


def test_weights_in_a_pickle_are_named_with_what_to_do(broken):
    folder = broken()
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    said = refusal(folder)
    assert "it has no weights in safetensors, which alone are read; pytorch_model.bin may run code" in said
    assert "convert it where you trust it, with from_pretrained and save_pretrained" in said


def test_an_unmerged_adapter_of_peft_is_refused_with_and_without_its_base(broken):
    folder = broken()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    said = "it holds an unmerged adapter of peft (adapter_config.json); merge it into the base with peft"
    assert said in refusal(folder)
    (folder / "config.json").unlink()
    assert said in refusal(folder)


def test_a_base_without_weights_says_so(broken):
    folder = broken()
    (folder / "model.safetensors").unlink()
    assert "no weights in safetensors, which alone are read; get the whole checkpoint" in refusal(folder)
    check_safetensors("x", ["model.safetensors.index.json"])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json"])
def test_a_pointer_of_git_lfs_in_place_of_a_file_is_named(broken, name):
    folder = broken()
    (folder / name).write_bytes(POINTER)
    assert f"{name} is a Git LFS pointer in place of the file; run `git lfs pull` there" in refusal(folder)


def test_an_image_processor_of_another_size_is_refused_when_it_is_used(broken):
    folder = broken()
    content = (folder / "processor_config.json").read_text(encoding="utf-8")
    (folder / "processor_config.json").write_text(content.replace(": 24", ": 32"), encoding="utf-8")
    model = ClipBlackBox(str(folder), device="cpu")
    with pytest.raises(InputError, match="makes images of 32 × 32 pixels, its image tower reads 24 × 24; the two are"):
        model.add_images(coloured(1))


# Where it is


def test_a_subfolder_of_a_folder_loads_and_is_remembered(clip_folder, tmp_path):
    shutil.copytree(clip_folder, tmp_path / "models" / "clip")
    model = ClipBlackBox(str(tmp_path), subfolder="models/clip/", device="cpu")
    assert (model.model_id, model.subfolder, model.revision) == (str(tmp_path), "models/clip", None)
    assert model.fingerprint() == ClipBlackBox(clip_folder, device="cpu").fingerprint()
    assert ClipBlackBox(clip_folder, device="cpu").subfolder is None


def test_an_adapter_of_a_base_in_a_subfolder_loads_it_there(clip_folder, tmp_path, monkeypatch):
    shutil.copytree(clip_folder, tmp_path / "models" / "clip")
    monkeypatch.chdir(tmp_path)
    words = [f"word{number}" for number in range(60)]
    model = ClipBlackBox("models", subfolder="clip", device="cpu")
    unlearn(model, forget=["red"], vocabulary=words).adapter.save_pretrained("adapter")
    adapter = ForgetAdapter.from_pretrained("adapter")
    assert (adapter.config.base_model, adapter.config.base_subfolder) == ("models", "clip")
    assert adapter.load_base(device="cpu").model.subfolder == "clip"
    assert adapter.load_base("models/clip", device="cpu").model.subfolder is None
    with pytest.raises(StorageError, match=r"models: no such CLIP, as it has no config\.json"):
        adapter.load_base("models", device="cpu")
    plain = unlearn(ClipBlackBox(clip_folder, device="cpu"), forget=["red"], vocabulary=words).adapter
    plain.save_pretrained("plain")
    assert "base_subfolder" not in json.loads(Path("plain/config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subfolder": "models"}, "no folder .*models there; give the subfolder of a checkpoint"),
        ({"subfolder": "../clip"}, "expected a path inside the folder or repository"),
        ({"subfolder": 3}, "subfolder must be text, got 3"),
        ({"revision": "main"}, "is a folder, which has no revisions; leave the revision out"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(clip_folder, options, said):
    with pytest.raises((InputError, StorageError), match=said):
        ClipBlackBox(clip_folder, device="cpu", **options)
    with pytest.raises(HfUnlearnError):
        ClipBlackBox(device="cpu", **options)
