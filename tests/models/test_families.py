"""Every family, precision and shard size: trained, saved, loaded, applied, exported; and what can't be, by name."""

import pytest
import torch

from hf_unlearn import ClipBlackBox, ForgetAdapter, unlearn
from tests.support.families import FAMILIES
from tests.support.images import COLOURS, coloured

LABELS = list(COLOURS)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def stored_as(base: str, folder, dtype: torch.dtype) -> str:
    """The base rewritten in a precision and in many shards."""
    from transformers import AutoModel, AutoProcessor

    AutoModel.from_pretrained(base, dtype=dtype).save_pretrained(folder, max_shard_size="20KB")
    AutoProcessor.from_pretrained(base).save_pretrained(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return str(folder)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_in_any_precision_and_sharded_goes_all_the_way(family_folder, family, dtype, tmp_path):
    base = stored_as(family_folder(family), tmp_path / "base", dtype)
    few_shot = coloured(4)
    model = ClipBlackBox(base, device="cpu")
    result = unlearn(model, few_shot, forget=["red"], max_queries=20, shots=2, n_ctx=2, progress=False)
    result.adapter.save_pretrained(tmp_path / "adapter")
    adapter = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    adapted = adapter.load_base(base, device="cpu")
    expected = adapted.classify(list(few_shot), LABELS)
    with adapted.disabled() as plain:
        assert (plain.classify(list(few_shot), LABELS) - expected).abs().max() > 1e-5
    adapter.export(tmp_path / "export", base=base)
    exported = ClipBlackBox(str(tmp_path / "export"), device="cpu")
    found = exported.zero_shot(exported.add_images(few_shot), LABELS).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_runs_in_half_precision_and_takes_an_adapter_made_in_full(family_folder, family, dtype):
    full = ClipBlackBox(family_folder(family), device="cpu")
    adapter = unlearn(full, coloured(4), forget=["red"], max_queries=8, shots=2, n_ctx=2, progress=False).adapter
    half = ClipBlackBox(family_folder(family), device="cpu", dtype=dtype)
    adapter.check_base(half)
    scores, expected = (m.log_scores(adapter.context[None], m.add_images(coloured(1)), LABELS) for m in (half, full))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.exp(), expected.exp(), rtol=0, atol=0.05)


def test_a_tokenizer_whose_package_is_missing_is_named(clip_folder, monkeypatch):
    def missing(*args, **kwargs):
        raise ImportError("SiglipTokenizer requires the SentencePiece library")

    monkeypatch.setattr("transformers.AutoProcessor.from_pretrained", missing)
    with pytest.raises(ValueError, match=r"requires the SentencePiece library.* pip install 'hf_unlearn\[siglip\]'"):
        ClipBlackBox(clip_folder)


def test_a_folder_that_is_no_model_at_all_is_not_called_open_clip(tmp_path):
    with pytest.raises((OSError, ValueError), match=r"no such CLIP|Unrecognized model"):
        ClipBlackBox(str(tmp_path))
