"""What an adapter does to images nobody optimized on, beside doing nothing and a label mask."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hf_unlearn import metrics
from hf_unlearn.adapter import ForgetAdapter
from hf_unlearn.black_box import BlackBox
from hf_unlearn.data import LabeledImages
from hf_unlearn.report import Report

ZERO_SHOT, LABEL_MASK = "zero-shot", "label-mask"
BYPASS_TEMPLATE = "a photo of a {}"


def evaluate(
    model: BlackBox,
    images: LabeledImages,
    *adapters: ForgetAdapter,
    validation: LabeledImages | None = None,
    unlisted: LabeledImages | None = None,
    unlisted_validation: LabeledImages | None = None,
    synonyms: Mapping[str, Sequence[str]] | None = None,
    kind: str = "test",
) -> Report:
    """Judges adapters on images that none was trained on; metrics as defined in `hf_unlearn.metrics`.

    Args:
        model: the adapters' base.
        images: labelled images of the adapters' classes, forget and retain.
        adapters: one or more, for the same classes; a row each, named by its method.
        validation: images the leakage probes are fitted on; without them `recoverability` is left out.
        unlisted: images of classes in neither list, for `collateral`.
        unlisted_validation: the same for fitting `forget_detect`.
        synonyms: other names of forget classes, for `synonym_err`; those that an adapter was trained on are left out.
        kind: what the images are ("test", "validation"), said in the report.

    Raises:
        ValueError: if the classes of images and adapters differ.
        WrongBaseError: if `model` is not the adapters' base.
    """
    if not adapters:
        raise ValueError("expected at least one adapter to evaluate, got none")
    first = adapters[0].config
    forget, names = set(first.forget), images.names
    for adapter in adapters:
        adapter.check_base(model)
        if set(adapter.config.forget) != forget or set(adapter.config.retain) | forget != set(names):
            raise ValueError(
                f"the adapter's {len(forget)} forget and {len(adapter.config.retain)} retain classes are not the "
                f"{len(names)} classes of the images; name the classes alike (--names)"
            )
    if validation is not None and validation.names != names:
        raise ValueError("validation images must have the same classes, in the same order, as the images judged")
    model = model.with_template(first.template)
    trained = {word for adapter in adapters for own in adapter.config.synonyms.values() for word in own}
    unseen = {name: [word for word in own if word not in trained] for name, own in (synonyms or {}).items()}
    judge = _Judge(model, images, torch.tensor([name in forget for name in names]), validation, unlisted,
                   unlisted_validation, unseen)  # fmt: skip
    nothing = torch.zeros(0, model.dim)
    rows = [judge.row(ZERO_SHOT, 0, nothing), judge.row(LABEL_MASK, 0, nothing, masked=True)]
    for adapter in adapters:
        row = judge.row(adapter.config.method, int(adapter.config.ledger.get("queries", 0)), adapter.context)
        rows.append({**row, "weights_sha256": adapter.config.weights_sha256})
    of_forget = int(judge.forget[judge.labels].sum())
    return Report(
        {
            "rows": rows,
            "per_class": judge.per_class(nothing, adapters[-1].context),
            "forget": [name for name in names if name in forget],
            "retain": [name for name in names if name not in forget],
            "images": {
                "kind": kind, "forget": of_forget, "retain": len(images) - of_forget, "classes": len(names),
            },
            "base_model": first.base_model,
            "template": first.template,
            "method": adapters[-1].config.method,
            "ledger": adapters[-1].config.ledger,
        }
    )  # fmt: skip


class _Judge:
    """One evaluation's images, encoded once."""

    def __init__(
        self,
        model: BlackBox,
        images: LabeledImages,
        forget: Tensor,
        validation: LabeledImages | None,
        unlisted: LabeledImages | None,
        unlisted_validation: LabeledImages | None,
        synonyms: Mapping[str, Sequence[str]],
    ) -> None:
        self.model, self.names, self.forget, self.synonyms = model, images.names, forget, synonyms
        self.labels = torch.tensor(images.labels)
        self.test = model.add_images(images)
        self.fit = model.add_images(validation) if validation else None
        self.fit_labels = torch.tensor(validation.labels) if validation else torch.empty(0)
        self.unlisted = unlisted
        self.unlisted_test = model.add_images(unlisted) if unlisted else None
        self.unlisted_fit = model.add_images(unlisted_validation) if unlisted_validation else None
        self.is_forget = forget[self.labels]
        self.plain = self.scores(torch.zeros(0, model.dim), self.test, self.names)
        bypass = (
            model.with_template(BYPASS_TEMPLATE)
            .log_scores(torch.zeros(1, 0, model.dim), self.test, self.names)[0]
            .cpu()
        )
        self.bypass_acc = float((bypass.argmax(-1) == self.labels)[self.is_forget].float().mean())

    def scores(self, context: Tensor, images: Any, names: Sequence[str], masked: bool = False) -> Tensor:
        """`(N, C)`; masked, the forget names are struck from the label set."""
        scores = self.model.log_scores(context[None], images, names)[0].cpu()
        if masked:
            struck = torch.tensor([name in self._forget_names() for name in names])
            scores = scores.masked_fill(struck, -torch.inf).log_softmax(-1)
        return scores

    def row(self, name: str, queries: int, context: Tensor, masked: bool = False) -> dict[str, Any]:
        scores = self.scores(context, self.test, self.names, masked)
        gone, kept = scores[self.is_forget], scores[~self.is_forget]
        gone_labels, kept_labels = self.labels[self.is_forget], self.labels[~self.is_forget]
        err_for, acc_mem = (float(x) for x in metrics.accuracies(scores, self.labels, self.forget))
        row = {
            "name": name,
            "queries": queries,
            "H": metrics.harmonic_mean(err_for, acc_mem),
            "err_for": err_for,
            "acc_mem": acc_mem,
            "entropy": metrics.entropy(gone),
            "top5_leak": metrics.top_leak(gone, gone_labels),
            "retain_nll": metrics.log_loss(kept, kept_labels),
            "retain_ece": metrics.calibration_error(kept, kept_labels),
            "look_alike": metrics.look_alike(scores, self.labels, self.forget),
        }
        row.update(self._leaks(context, gone, gone_labels, masked))
        row.update(self._collateral(context, masked))
        row.update(self._synonym_err(context, masked))
        row["bypass_acc"] = self.bypass_acc
        return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}

    def _leaks(self, context: Tensor, gone: Tensor, gone_labels: Tensor, masked: bool) -> dict[str, Any]:
        if self.fit is None or not len(gone):
            return {}
        fit = self.scores(context, self.fit, self.names, masked)
        rows = self.forget[self.fit_labels]
        leaks = {"recoverability": metrics.recoverability(fit[rows], self.fit_labels[rows], gone, gone_labels)}
        if self.unlisted_fit is not None and self.unlisted_test is not None:
            others = (
                self.scores(context, handle, self.names, masked) for handle in (self.unlisted_fit, self.unlisted_test)
            )
            fit_others, test_others = others
            leaks["forget_detect"] = metrics.forget_detect(fit[rows], fit_others, gone, test_others)
        return leaks

    def _collateral(self, context: Tensor, masked: bool) -> dict[str, Any]:
        """Accuracy on unlisted classes, after minus before: among the unlisted names, and among all."""
        if self.unlisted is None or self.unlisted_test is None:
            return {}
        labels = torch.tensor(self.unlisted.labels)
        result = {}
        for key, extra in (("collateral", ()), ("collateral_all_names", self.names)):
            names = (*self.unlisted.names, *extra)
            before = self.scores(context[:0], self.unlisted_test, names).argmax(-1) == labels
            after = self.scores(context, self.unlisted_test, names, masked).argmax(-1) == labels
            result[key] = float(after.float().mean() - before.float().mean())
        return result

    def _synonym_err(self, context: Tensor, masked: bool) -> dict[str, Any]:
        """Each forgotten name replaced by its first, second, … other name; only those the plain model knows."""
        wrong: list[Tensor] = []
        for turn in range(max((len(others) for others in self.synonyms.values()), default=0)):
            replaced = {n: o[turn] for n, o in self.synonyms.items() if turn < len(o) and n in self._forget_names()}
            names = [replaced.get(name, name) for name in self.names]
            if not replaced or len(set(names)) < len(names):
                continue
            plain = self.scores(context[:0], self.test, names).argmax(-1) == self.labels
            adapted = self.scores(context, self.test, names, masked).argmax(-1) == self.labels
            for name in replaced:
                own = self.labels == self.names.index(name)
                if own.any() and plain[own].float().mean() >= 0.5:
                    wrong.append(1 - adapted[own].float().mean())
        return {"synonym_err": float(torch.stack(wrong).mean()), "synonyms": len(wrong)} if wrong else {}

    def per_class(self, before: Tensor, after: Tensor) -> list[dict[str, Any]]:
        plain = self.plain.argmax(-1) == self.labels
        adapted = self.scores(after, self.test, self.names).argmax(-1) == self.labels
        table = []
        for label, name in enumerate(self.names):
            own = self.labels == label
            if own.any():
                table.append(
                    {
                        "name": name,
                        "role": "forget" if self.forget[label] else "retain",
                        "images": int(own.sum()),
                        "accuracy_before": float(plain[own].float().mean()),
                        "accuracy_after": float(adapted[own].float().mean()),
                    }
                )
        return table

    def _forget_names(self) -> set[str]:
        return {name for name, gone in zip(self.names, self.forget.tolist(), strict=True) if gone}
