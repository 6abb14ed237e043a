"""What `export --hardened` is worth: accuracy on forgotten classes when the context is left out, and the price.

Variants of the closed form are applied to the text features, which is what an export does to the text projection.
`bypass` are templates that no variant was computed from.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn import ClipBlackBox, ForgetAdapter, unlearn
from hf_unlearn.adapters.export.hardening import RIDGE, TEMPLATES, compute_hardening, edit
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.evaluation.metrics import accuracies, harmonic_mean
from hf_unlearn.models.black_box import ImageSet

HELD_OUT = (
    "a picture of a {}.", "a drawing of the {}", "there is a {} here", "{} , emoji", "my {}", "a close-up of one {}",
    "an icon showing a {}",
)  # fmt: skip


def variants(model: ClipBlackBox, adapter: ForgetAdapter) -> dict[str, Tensor]:
    """Name -> `(width, width)`; the null spaces are of features averaged over templates."""
    forget, retain = adapter.config.forget, adapter.config.retain
    nothing = torch.zeros(1, 0, model.dim)
    gone, kept = (
        torch.stack([model.with_template(t).text_features(nothing, names)[0].cpu() for t in TEMPLATES])
        for names in (forget, retain)
    )
    centre, under = kept.mean((0, 1)), model.text_features(adapter.context[None], retain)[0].cpu()
    kept_all = torch.cat([kept.flatten(0, 1), under])
    before = torch.cat([gone.flatten(0, 1), kept_all])
    zeroed = torch.cat([torch.zeros_like(gone.flatten(0, 1)), kept_all])
    kept_span = _span(kept.mean(0))
    clear_of_kept = gone.mean(0) - gone.mean(0) @ kept_span.T @ kept_span
    return {
        "as it is": torch.eye(gone.shape[-1]),
        "null space of the forgotten": _null(gone.mean(0)),
        "the same, every template": _null(gone.flatten(0, 1)),
        "null space, centred on the kept": _null(gone.mean(0) - centre),
        "null space, clear of the kept": _null(clear_of_kept),
        "least squares, to zero": edit(before, zeroed, RIDGE),
        "least squares, to the kept mean": compute_hardening(model, adapter.context, forget, retain),
    }


def figures(model: ClipBlackBox, adapter: ForgetAdapter, task: demo.Task, change: Tensor) -> dict[str, float]:
    """Accuracies without the context (mean over held-out templates) and with it."""
    names, forget = list(task.names), list(task.forget)
    test, labels = model.add_images(task.test), torch.tensor(task.test.labels)
    gone_names = torch.tensor([name in forget for name in names])
    gone = gone_names[labels]
    nothing = torch.zeros(1, 0, model.dim)

    def hits(images: ImageSet, labels: Tensor, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        scores = [_scores(model.with_template(t), nothing, images, names, change) for t in templates]
        return torch.stack([(s.argmax(-1) == labels).float() for s in scores])  # (templates, N)

    plain = hits(test, labels, names, HELD_OUT)
    known = hits(test, labels, names, TEMPLATES)
    renamed = [task.synonyms[name][0] if name in task.synonyms else name for name in names]
    has_other = torch.tensor([name in task.synonyms for name in names])[labels]
    own = torch.tensor([forget.index(names[label]) if names[label] in forget else -1 for label in labels.tolist()])
    unlisted = hits(model.add_images(task.unlisted), torch.tensor(task.unlisted.labels), task.unlisted.names, HELD_OUT)
    under = _scores(model, adapter.context[None], test, names, change)
    err_for, acc_mem = (float(x) for x in accuracies(under, labels, gone_names))
    return {
        "bypass": plain[:, gone].mean().item(),
        "bypass, worst": plain[:, gone].mean(1).max().item(),
        "bypass, computed from": known[:, gone].mean().item(),
        "synonym": hits(test, labels, renamed, HELD_OUT)[:, gone & has_other].mean().item(),
        "forgotten names alone": hits(test, own, forget, HELD_OUT)[:, gone].mean().item(),
        "retain, plain": plain[:, ~gone].mean().item(),
        "unlisted, plain": unlisted.mean().item(),
        "H": harmonic_mean(err_for, acc_mem),
        "Err_for": err_for,
        "Acc_mem": acc_mem,
    }


def _scores(model: ClipBlackBox, context: Tensor, images: ImageSet, names: Sequence[str], change: Tensor) -> Tensor:
    texts = F.normalize(model.text_features(context, names)[0].cpu() @ change.T, dim=-1)
    return (model.model.logit_scale.exp().cpu() * images.features.cpu() @ texts.T).log_softmax(-1)


def _span(rows: Tensor) -> Tensor:
    _, sizes, directions = torch.linalg.svd(rows, full_matrices=False)
    return directions[sizes > 1e-4 * sizes[0]]


def _null(rows: Tensor) -> Tensor:
    span = _span(rows)
    return torch.eye(rows.shape[1]) - span.T @ span


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="moderation", choices=list(demo.SHOTS))
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--adapter", help="folder of an adapter for the task; trained here if not given")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    task = demo.task(arguments.task, arguments.draw)
    if arguments.adapter:
        adapter = ForgetAdapter.from_pretrained(arguments.adapter)
        model = adapter.load_base().model
    else:
        model = ClipBlackBox()
        adapter = unlearn(
            model, task.train, forget=task.forget, validation=task.validation, max_queries=arguments.queries,
            shots=task.shots, patience=None, progress=False,
        ).adapter  # fmt: skip
    with torch.no_grad():
        rows = {name: figures(model, adapter, task, change) for name, change in variants(model, adapter).items()}
    table = Table("%", *rows, title=f"{arguments.task}, draw {arguments.draw}", title_justify="left")
    for key in rows["as it is"]:
        table.add_row(key, *(f"{100 * row[key]:.1f}" for row in rows.values()))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
