"""The rows of a report: every metric of a model, of a label mask and of a model under adapters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.evaluation import metrics
from hf_unlearn.evaluation.report_content import ClassAccuracy, Row
from hf_unlearn.evaluation.score_memory import ScoreMemory
from hf_unlearn.models.black_box import BlackBox

SHORT_LISTS = (1, 4, 9, 19)  # kept names beside the forgotten one
KNOWN = 0.5  # a synonym counts if the plain model recognizes at least this share of its class's images by it


@dataclass(frozen=True)
class Candidate:
    """What a row is about.

    Attributes:
        name: of the row.
        queries: that its training took.
        box: the model, under adapters.
        bypass: the same without contexts, under a plain prompt.
        masked: whether the forgotten names are struck from the label set.
    """

    name: str
    queries: int
    box: BlackBox
    bypass: BlackBox
    masked: bool = False


@dataclass(frozen=True)
class EvaluationImages:
    """The images of an evaluation; see `evaluate`."""

    test: LabeledImages
    validation: LabeledImages | None = None
    unlisted: LabeledImages | None = None
    unlisted_validation: LabeledImages | None = None


class RowMaker:
    """Computes rows from the scores of one evaluation's images.

    Args:
        memory: of scores.
        plain: the model without adapters, under the evaluation's template.
        images: all of the evaluation.
        forget: `(C,)` bool, which classes of the test images are forgotten.
        synonyms: forget class -> other names.
    """

    def __init__(
        self,
        memory: ScoreMemory,
        plain: BlackBox,
        images: EvaluationImages,
        forget: Tensor,
        synonyms: Mapping[str, Sequence[str]],
    ) -> None:
        self._memory, self._plain, self._images, self._synonyms = memory, plain, images, synonyms
        self.names, self.forget = images.test.names, forget
        self.labels = torch.tensor(images.test.labels)
        self.is_forget = forget[self.labels]
        self._forgotten = {name for name, hidden in zip(self.names, forget.tolist(), strict=True) if hidden}

    def make_row(self, candidate: Candidate) -> Row:
        """Every metric of a candidate that the images allow."""
        scores = self._score(candidate, self._images.test, self.names)
        row: dict[str, Any] = {
            "name": candidate.name,
            "queries": candidate.queries,
            **self._measure_forgetting(scores),
            **self._measure_leaks(candidate, scores),
            **self._measure_collateral(candidate),
            **self._measure_synonyms(candidate),
            "bypass_acc": self._measure_bypass(candidate),
        }
        undefined = [key for key, value in row.items() if isinstance(value, float) and math.isnan(value)]
        return cast(Row, row | dict.fromkeys(undefined))

    def compare_classes(self, box: BlackBox) -> list[ClassAccuracy]:
        """The accuracy on every class with images, without adapters and of `box`."""
        before, after = (
            self._find_right(one, self._images.test, self.names, self.labels) for one in (self._plain, box)
        )
        table: list[ClassAccuracy] = []
        for label, name in enumerate(self.names):
            members = self.labels == label
            if members.any():
                table.append(
                    {
                        "name": name,
                        "role": "forget" if self.forget[label] else "retain",
                        "images": int(members.sum()),
                        "accuracy_before": float(before[members].float().mean()),
                        "accuracy_after": float(after[members].float().mean()),
                    }
                )
        return table

    def _score(self, candidate: Candidate, images: LabeledImages, names: Sequence[str]) -> Tensor:
        """Log-scores `(N, C)`; a masked candidate's are -inf for the forgotten names."""
        scores = self._memory.score(candidate.box, self._memory.encode(images), names)
        if not candidate.masked:
            return scores
        struck = torch.tensor([name in self._forgotten for name in names])
        return scores.masked_fill(struck, -torch.inf).log_softmax(-1)

    def _find_right(self, box: BlackBox, images: LabeledImages, names: Sequence[str], labels: Tensor) -> Tensor:
        """`(N,)` bool: which images `box` names right."""
        return self._memory.score(box, self._memory.encode(images), names).argmax(-1) == labels

    def _measure_forgetting(self, scores: Tensor) -> dict[str, float]:
        """The metrics of the test images' scores alone."""
        hidden, kept = scores[self.is_forget], scores[~self.is_forget]
        hidden_labels, kept_labels = self.labels[self.is_forget], self.labels[~self.is_forget]
        err_for, acc_mem = (float(x) for x in metrics.accuracies(scores, self.labels, self.forget))
        return {
            "H": metrics.harmonic_mean(err_for, acc_mem),
            "err_for": err_for,
            "acc_mem": acc_mem,
            "entropy": metrics.entropy(hidden),
            "top5_leak": metrics.top_leak(hidden, hidden_labels),
            "retain_nll": metrics.log_loss(kept, kept_labels),
            "retain_ece": metrics.calibration_error(kept, kept_labels),
            "look_alike": metrics.look_alike(scores, self.labels, self.forget),
            **{f"short_list_{k}": metrics.short_list(scores, self.labels, self.forget, k) for k in SHORT_LISTS},
        }

    def _measure_leaks(self, candidate: Candidate, scores: Tensor) -> dict[str, float]:
        """What probes, fitted on validation images, read off the scores of forget images."""
        validation, images = self._images.validation, self._images
        hidden, hidden_labels = scores[self.is_forget], self.labels[self.is_forget]
        if validation is None or not len(hidden):
            return {}
        labels = torch.tensor(validation.labels)
        rows = self.forget[labels]
        fit = self._score(candidate, validation, self.names)[rows]
        leaks = {"recoverability": metrics.recoverability(fit, labels[rows], hidden, hidden_labels)}
        if images.unlisted is not None and images.unlisted_validation is not None:
            fit_others = self._score(candidate, images.unlisted_validation, self.names)
            test_others = self._score(candidate, images.unlisted, self.names)
            leaks["forget_detect"] = metrics.forget_detect(fit, fit_others, hidden, test_others)
        return leaks

    def _measure_collateral(self, candidate: Candidate) -> dict[str, float]:
        """Accuracy on unlisted classes, after minus before: among the unlisted names, and among all."""
        unlisted = self._images.unlisted
        if unlisted is None:
            return {}
        labels = torch.tensor(unlisted.labels)
        changes = {}
        for key, extra in (("collateral", ()), ("collateral_all_names", self.names)):
            names = (*unlisted.names, *extra)
            before = self._find_right(self._plain, unlisted, names, labels)
            after = self._score(candidate, unlisted, names).argmax(-1) == labels
            changes[key] = float(after.float().mean() - before.float().mean())
        return changes

    def _measure_synonyms(self, candidate: Candidate) -> dict[str, float]:
        """The error under other names that the plain model knows: the first of every class, the second, and so on."""
        wrong: list[Tensor] = []
        for turn in range(max((len(others) for others in self._synonyms.values()), default=0)):
            replaced = {n: o[turn] for n, o in self._synonyms.items() if turn < len(o) and n in self._forgotten}
            names = [replaced.get(name, name) for name in self.names]
            if not replaced or len(set(names)) < len(names):
                continue
            plain = self._find_right(self._plain, self._images.test, names, self.labels)
            adapted = self._score(candidate, self._images.test, names).argmax(-1) == self.labels
            for name in replaced:
                members = self.labels == self.names.index(name)
                if members.any() and plain[members].float().mean() >= KNOWN:
                    wrong.append(1 - adapted[members].float().mean())
        return {"synonym_err": float(torch.stack(wrong).mean()), "synonyms": len(wrong)} if wrong else {}

    def _measure_bypass(self, candidate: Candidate) -> float:
        """Accuracy on forget images without contexts, under a plain prompt."""
        right = self._find_right(candidate.bypass, self._images.test, self.names, self.labels)
        return float(right[self.is_forget].float().mean())
