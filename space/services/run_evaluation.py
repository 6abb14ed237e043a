"""The evaluation at the end of a run: the adapter's report, and the names that forgotten images now get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from space.inputs.task_images import TaskImages

if TYPE_CHECKING:
    from hf_unlearn import ClipBlackBox, ForgetAdapter
    from hf_unlearn.evaluation.report_content import Row
    from hf_unlearn.evaluation.rows import EvaluationImages

Confusions = dict[str, dict[str, float]]


class RunEvaluation:
    """Evaluates a run's adapter; what does not depend on the adapter is done before the search, so the end is quick.

    Args:
        model: the base.
        images: the run's; without images to evaluate on there is nothing to do.
        forget: names to forget.
    """

    def __init__(self, model: ClipBlackBox, images: TaskImages, forget: list[str]) -> None:
        from hf_unlearn.evaluation.score_memory import ScoreMemory

        self._memory, self._images, self._forget = ScoreMemory(model), images, forget
        self._baselines: list[Row] | None = None

    def count_images(self) -> int:
        """How many images the evaluation encodes."""
        sets = self._sets() if self._images.judged is not None else None
        return sum(len(images) for images in vars(sets).values() if images is not None) if sets else 0

    def prepare(self) -> None:
        """Encodes the images, and evaluates the plain model and a label mask."""
        from hf_unlearn.evaluation.evaluator import measure_baselines

        if self._images.judged is not None:
            self._baselines = measure_baselines(self._memory, self._sets(), self._forget, self._images.synonyms)

    def judge(self, adapter: ForgetAdapter) -> tuple[ForgetAdapter, Confusions]:
        """The adapter with its report inside, and its confusions; without images the adapter as it is, and nothing."""
        from hf_unlearn.evaluation.evaluator import evaluate_from_memory

        if self._images.judged is None:
            return adapter, {}
        report = evaluate_from_memory(
            self._memory, self._sets(), (adapter,), self._images.synonyms, self._images.kind, self._baselines
        )
        return adapter.with_report(report.content), self._count_confusions(adapter)

    def _sets(self) -> EvaluationImages:
        from hf_unlearn.evaluation.rows import EvaluationImages

        images = self._images
        assert images.judged is not None
        validation = images.validation if images.kind == "test" else None
        return EvaluationImages(images.judged, validation, images.unlisted, images.unlisted_validation)

    def _count_confusions(self, adapter: ForgetAdapter) -> Confusions:
        """Forgotten class -> name -> share of the class's images that now get that name, 0 to 1, largest first."""
        judged = self._images.judged
        assert judged is not None
        box = adapter.applied_to(self._memory.model)
        guesses = self._memory.score(box, self._memory.encode(judged), judged.names).argmax(-1).tolist()
        shares: Confusions = {}
        counts = judged.counts()
        for label, guess in zip(judged.labels, guesses, strict=True):
            if (name := judged.names[label]) in adapter.config.forget:
                row = shares.setdefault(name, {})
                row[judged.names[guess]] = row.get(judged.names[guess], 0.0) + 1 / counts[name]
        return {name: dict(sorted(row.items(), key=lambda item: -item[1])) for name, row in shares.items()}
