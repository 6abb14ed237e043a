"""The evaluation at the end of a run: the adapter's report, and the names that forgotten images now get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from space.inputs.data_sources import TaskImages

if TYPE_CHECKING:
    from hf_unlearn import ClipBlackBox, ForgetAdapter


def evaluate_adapter(
    model: ClipBlackBox, images: TaskImages, adapter: ForgetAdapter
) -> tuple[ForgetAdapter, dict[str, dict[str, float]]]:
    """The adapter with its report inside, and its confusions; without images the adapter as it is, and nothing."""
    from hf_unlearn import evaluate

    if images.judged is None:
        return adapter, {}
    report = evaluate(
        model,
        images.judged,
        adapter,
        validation=images.validation if images.kind == "test" else None,
        unlisted=images.unlisted,
        unlisted_validation=images.unlisted_validation,
        synonyms=images.synonyms,
        kind=images.kind,
    )
    return adapter.with_report(report.content), count_confusions(model, images, adapter)


def count_confusions(model: ClipBlackBox, images: TaskImages, adapter: ForgetAdapter) -> dict[str, dict[str, float]]:
    """Forgotten class -> name -> share of the class's images that now get that name, 0 to 1, largest first."""
    import torch

    assert images.judged is not None
    forgotten = set(adapter.config.forget)
    chosen = images.judged.select(
        i for i, label in enumerate(images.judged.labels) if images.judged.names[label] in forgotten
    )
    handle = model.add_images(chosen)
    nothing = torch.zeros(1, 0, model.dim)
    guesses = model.under(adapter).log_scores(nothing, handle, chosen.names)[0].argmax(-1).tolist()
    shares: dict[str, dict[str, float]] = {}
    counts = chosen.counts()
    for label, guess in zip(chosen.labels, guesses, strict=True):
        row = shares.setdefault(chosen.names[label], {})
        row[chosen.names[guess]] = row.get(chosen.names[guess], 0.0) + 1 / counts[chosen.names[label]]
    return {name: dict(sorted(row.items(), key=lambda item: -item[1])) for name, row in shares.items()}
