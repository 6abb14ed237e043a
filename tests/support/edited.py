"""Adapters of the kind "edit" for tests: random maps of low rank, gates half open, so every score changes a little."""

from dataclasses import replace
from pathlib import Path

import torch

from hf_unlearn import ForgetAdapter, evaluate
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.models.text_edit import Gate, TextEdit, digest
from tests.support.images import coloured


def random_edit(width: int, rank: int = 3, seed: int = 0) -> TextEdit:
    draw = torch.Generator().manual_seed(seed)
    up, down = torch.randn(width, rank, generator=draw), torch.randn(rank, width, generator=draw)
    near = torch.randn(2, width, generator=draw)
    gate = Gate(0.1 * torch.randn(width, generator=draw), near, torch.tensor([-2.0, 0.5]))
    return TextEdit(0.8 * up / width**0.5, 0.8 * down, gate)


def edit_adapter(model, forget=("red",), retain=(), rank: int = 3, seed: int = 0, **changes) -> ForgetAdapter:
    return adapter_of(random_edit(model.width, rank, seed), model, forget, retain, **changes)


def adapter_of(edit: TextEdit, model, forget=("red",), retain=(), **changes) -> ForgetAdapter:
    facts = {
        "base_model": model.model_id.rsplit("/", 1)[-1], "base_fingerprint": model.fingerprint(),
        "template": model.template, "forget": list(forget), "retain": list(retain), "method": "edit",
        "kind": "edit", "width": len(edit.up), "rank": len(edit.down), "weights_sha256": digest(edit),
        "ledger": {"queries": 0, "seconds": 0.1}, "hyperparameters": {"breadth": 0.5},
        "neighbours": [{"word": "scarlet", "of": forget[0], "similarity": 0.25}],
    }  # fmt: skip
    return ForgetAdapter(edit, AdapterConfig(**{**facts, **changes}))


def open_gate(adapter: ForgetAdapter) -> ForgetAdapter:
    """The same for every text: what an export carries."""
    linear = adapter.edit.linear()
    return ForgetAdapter(linear, replace(adapter.config, weights_sha256=digest(linear)))


def save_evaluated(model, folder: Path) -> Path:
    """Writes an edit with its report to a folder."""
    adapter = edit_adapter(model, seed=3)
    adapter.with_report(evaluate(model, coloured(4, seed=1), adapter).content).save_pretrained(folder)
    return folder
