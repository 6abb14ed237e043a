"""What an adapter does to images nobody optimized on, beside doing nothing and a label mask."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.data.class_names import difference, like, synonym_lists
from hf_unlearn.data.labeled_images import LabeledImages, check_images
from hf_unlearn.errors import InputError
from hf_unlearn.evaluation import metrics
from hf_unlearn.evaluation.report import Report
from hf_unlearn.models.black_box import BlackBox, check_box
from hf_unlearn.text import brief

ZERO_SHOT, LABEL_MASK = "zero-shot", "label-mask"
BYPASS_TEMPLATE = "a photo of a {}"
SHORT_LISTS = (1, 4, 9, 19)  # how many kept names stand beside the forgotten one
Adapters = ForgetAdapter | Sequence[ForgetAdapter]


def evaluate(
    model: BlackBox,
    images: LabeledImages,
    *adapters: Adapters,
    validation: LabeledImages | None = None,
    unlisted: LabeledImages | None = None,
    unlisted_validation: LabeledImages | None = None,
    synonyms: Mapping[str, Sequence[str]] | None = None,
    kind: str = "test",
) -> Report:
    """Judges adapters on images that none was trained on; metrics as defined in `hf_unlearn.evaluation.metrics`.

    Args:
        model: the adapters' base.
        images: labelled images of the adapters' classes, forget and retain. An edit keeps everything that it does not
            forget, so images of any other class will do beside those it forgets.
        adapters: one or more of either kind that forget the same classes; a row each, named by its method. Several
            as a list are one row, in effect together: `[edit, context]`.
        validation: images the leakage probes are fitted on; without them `recoverability` is left out.
        unlisted: images of classes in neither list, for `collateral`.
        unlisted_validation: the same for fitting `forget_detect`.
        synonyms: other names of forget classes, for `synonym_err`; those that an adapter was trained on are left out.
        kind: what the images are ("test", "validation"), said in the report.

    Raises:
        ValueError: if the classes of images and adapters differ; it says which.
        WrongBaseError: if `model` is not the adapters' base.
    """
    check_box(model)
    check_images(images=images, validation=validation, unlisted=unlisted, unlisted_validation=unlisted_validation)
    names, stacks = images.names, _stacks(model, images.names, adapters)
    every = [adapter for stack in stacks for adapter in stack]
    forget = set(every[0].config.forget)
    if len(names) < 2:
        raise InputError(f"expected images of at least two classes to tell apart, got only {brief(names[0])}")
    check_validation(validation, names)
    template = next((adapter.config.template for adapter in every if adapter.kind == "context"), model.template)
    model = model.with_template(template)
    trained = {word for adapter in every for own in adapter.config.synonyms.values() for word in own}
    unseen = {name: [word for word in own if word not in trained] for name, own in synonym_lists(synonyms).items()}
    judge = _Judge(model, images, torch.tensor([name in forget for name in names]), validation, unlisted,
                   unlisted_validation, unseen)  # fmt: skip
    plain = model.with_template(BYPASS_TEMPLATE)
    rows = [judge.row(ZERO_SHOT, 0, model, plain), judge.row(LABEL_MASK, 0, model, plain, masked=True)]
    for stack in stacks:
        box, bare = model, plain  # all in effect; without the prompt only the edits are
        for adapter in stack:
            box = adapter.applied_to(box)
            bare = adapter.applied_to(bare) if adapter.kind == "edit" else bare
        rows.append({**judge.row(*_facts(stack), box, bare), **_which(stack)})
    of_forget = int(judge.forget[judge.labels].sum())
    last = stacks[-1][-1].config
    return Report(
        {
            "rows": rows,
            "per_class": judge.per_class(box),
            "forget": [name for name in names if name in forget],
            "retain": [name for name in names if name not in forget],
            "images": {
                "kind": kind, "forget": of_forget, "retain": len(images) - of_forget, "classes": len(names),
            },
            "base_model": last.base_model,
            "template": template,
            "method": _facts(stacks[-1])[0],
            "ledger": last.ledger,
        }
    )  # fmt: skip


def _stacks(model: BlackBox, names: Sequence[str], adapters: Sequence[Adapters]) -> list[tuple[ForgetAdapter, ...]]:
    """The adapters of each row, checked."""
    if odd := [one for one in adapters if isinstance(one, str) or not (isinstance(one, ForgetAdapter | Sequence))]:
        raise InputError(f"expected adapters, got {brief(odd[0])}; load it: ForgetAdapter.from_pretrained(...)")
    stacks = [(one,) if isinstance(one, ForgetAdapter) else tuple(one) for one in adapters]
    if not stacks or not all(stacks):
        raise InputError("expected at least one adapter to evaluate, got none")
    forget = set(stacks[0][0].config.forget)
    for adapter in (adapter for stack in stacks for adapter in stack):
        adapter.check_base(model)
        _check_classes(adapter, names, forget)
    return stacks


def _check_classes(adapter: ForgetAdapter, names: Sequence[str], forget: set[str]) -> None:
    config = adapter.config
    if set(config.forget) != forget:
        told = difference(forget, config.forget)
        raise InputError(f"the adapters forget different classes; evaluate them one by one ({told})")
    if adapter.kind == "edit":
        if missing := [name for name in config.forget if name not in names]:
            raise InputError(
                f"the adapter forgets {brief(missing[0])}, which is none of the {len(names)} classes of the images"
                f"{like(missing[0], names)}; name the classes alike (--names)"
            )
    elif set(config.retain) | forget != set(names):
        raise InputError(
            f"the adapter's {len(forget)} forget and {len(config.retain)} retain classes are not the "
            f"{len(names)} classes of the images ({difference([*config.forget, *config.retain], names)}); name the "
            "classes alike (--names)"
        )


def check_validation(validation: LabeledImages | None, names: Sequence[str]) -> None:
    """Raises: ValueError: if validation images are not of the classes of the images judged, in their order."""
    if validation is None or validation.names == tuple(names):
        return
    told = difference(names, validation.names)
    raise InputError(
        "validation images must have the same classes, in the same order, as the images judged"
        + (f" ({told})" if told else "; their order is another: use validation.only(images.names)")
    )


def _facts(stack: Sequence[ForgetAdapter]) -> tuple[str, int]:
    """Name and queries of a row."""
    methods = [adapter.config.method for adapter in stack]
    return " + ".join(methods), sum(int(adapter.config.ledger.get("queries", 0)) for adapter in stack)


def _which(stack: Sequence[ForgetAdapter]) -> dict[str, str]:
    return {"weights_sha256": stack[0].config.weights_sha256} if len(stack) == 1 else {}


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
        self._known: dict[tuple[int, int, tuple[str, ...]], tuple[BlackBox, Any, Tensor]] = {}

    def scores(self, box: BlackBox, images: Any, names: Sequence[str], masked: bool = False) -> Tensor:
        """`(N, C)`, asked once; masked, the forget names are struck from the label set."""
        key = (id(box), id(images), tuple(names))
        if key not in self._known:  # it holds box and images, so that their ids stay theirs
            scores = box.log_scores(torch.zeros(1, 0, box.dim), images, names)[0].cpu()
            self._known[key] = box, images, scores
        scores = self._known[key][2]
        if masked:
            struck = torch.tensor([name in self._forget_names() for name in names])
            scores = scores.masked_fill(struck, -torch.inf).log_softmax(-1)
        return scores

    def row(self, name: str, queries: int, box: BlackBox, bypass: BlackBox, masked: bool = False) -> dict[str, Any]:
        """Every metric of `box`; `bypass` is it without the context, under a plain prompt."""
        scores = self.scores(box, self.test, self.names, masked)
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
        row.update({f"short_list_{k}": metrics.short_list(scores, self.labels, self.forget, k) for k in SHORT_LISTS})
        row.update(self._leaks(box, gone, gone_labels, masked))
        row.update(self._collateral(box, masked))
        row.update(self._synonym_err(box, masked))
        right = self.scores(bypass, self.test, self.names).argmax(-1) == self.labels
        row["bypass_acc"] = float(right[self.is_forget].float().mean())
        return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}

    def _leaks(self, box: BlackBox, gone: Tensor, gone_labels: Tensor, masked: bool) -> dict[str, Any]:
        if self.fit is None or not len(gone):
            return {}
        fit = self.scores(box, self.fit, self.names, masked)
        rows = self.forget[self.fit_labels]
        leaks = {"recoverability": metrics.recoverability(fit[rows], self.fit_labels[rows], gone, gone_labels)}
        if self.unlisted_fit is not None and self.unlisted_test is not None:
            others = (
                self.scores(box, handle, self.names, masked) for handle in (self.unlisted_fit, self.unlisted_test)
            )
            fit_others, test_others = others
            leaks["forget_detect"] = metrics.forget_detect(fit[rows], fit_others, gone, test_others)
        return leaks

    def _collateral(self, box: BlackBox, masked: bool) -> dict[str, Any]:
        """Accuracy on unlisted classes, after minus before: among the unlisted names, and among all."""
        if self.unlisted is None or self.unlisted_test is None:
            return {}
        labels = torch.tensor(self.unlisted.labels)
        result = {}
        for key, extra in (("collateral", ()), ("collateral_all_names", self.names)):
            names = (*self.unlisted.names, *extra)
            before = self.scores(self.model, self.unlisted_test, names).argmax(-1) == labels
            after = self.scores(box, self.unlisted_test, names, masked).argmax(-1) == labels
            result[key] = float(after.float().mean() - before.float().mean())
        return result

    def _synonym_err(self, box: BlackBox, masked: bool) -> dict[str, Any]:
        """Each forgotten name replaced by its first, second, … other name; only those the plain model knows."""
        wrong: list[Tensor] = []
        for turn in range(max((len(others) for others in self.synonyms.values()), default=0)):
            replaced = {n: o[turn] for n, o in self.synonyms.items() if turn < len(o) and n in self._forget_names()}
            names = [replaced.get(name, name) for name in self.names]
            if not replaced or len(set(names)) < len(names):
                continue
            plain = self.scores(self.model, self.test, names).argmax(-1) == self.labels
            adapted = self.scores(box, self.test, names, masked).argmax(-1) == self.labels
            for name in replaced:
                own = self.labels == self.names.index(name)
                if own.any() and plain[own].float().mean() >= 0.5:
                    wrong.append(1 - adapted[own].float().mean())
        return {"synonym_err": float(torch.stack(wrong).mean()), "synonyms": len(wrong)} if wrong else {}

    def per_class(self, box: BlackBox) -> list[dict[str, Any]]:
        plain = self.scores(self.model, self.test, self.names).argmax(-1) == self.labels
        adapted = self.scores(box, self.test, self.names).argmax(-1) == self.labels
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
