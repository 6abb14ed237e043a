"""What a visitor asks for: names to forget, names to keep, images, method, budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hf_unlearn.errors import InputError
from space.inputs.json_values import as_number
from space.inputs.limits import describe_repeats, has_names, parse_labels

DRAWINGS, NAMES, FILES, DATASET = "drawings", "names", "files", "dataset"
EDIT, CONTEXT = "edit", "context"
SOURCES = {
    NAMES: "Names only: no images",
    DRAWINGS: "The demo's drawings",
    FILES: "My images: one folder per class",
    DATASET: "A data set on the Hub",
}
METHODS = {
    EDIT: "Edit: names are enough, a few seconds",
    CONTEXT: "Context: searched for with the model's scores only, a minute or more",
}
MAX_CLASSES = 200
BUDGETS = (50, 3_000)
STRENGTHS = {"gentle": 0.25, "normal": 0.5, "strong": 0.75}


@dataclass(frozen=True)
class RunRequest:
    """A visitor's request, checked and complete.

    Attributes:
        base: the base model's name.
        forget, keep: class names. `keep` may be empty for an edit, which keeps everything else. It may also be empty
            with uploaded images: then all other classes are kept.
        source: one of `SOURCES`. A context learns from these images; an edit is only evaluated on them.
        budget: candidates to score at most; an edit ignores it.
        strength: 0 to 1, see `hf_unlearn.unlearn`.
        files: the uploaded zip, or nothing.
        dataset: a data set's id on the Hub, or nothing.
        method: one of `METHODS`.
        repeats: a sentence in Markdown about names that were written more than once, or nothing.
    """

    base: str
    forget: list[str]
    keep: list[str]
    source: str
    budget: int
    strength: float = 0.5
    files: list[str] = field(default_factory=list)
    dataset: str = ""
    method: str = CONTEXT
    repeats: str = ""

    @classmethod
    def parse(
        cls,
        base: str,
        forget: str,
        keep: str,
        source: str,
        budget: object,
        strength: str = "normal",
        files: Sequence[str] = (),
        dataset: str = "",
        method: str = "",
    ) -> RunRequest:
        """Checks what the page or a client sends, which may be anything that JSON holds.

        Args:
            method: one of `METHODS`. Default: an edit where there are no images, else a context.

        Raises:
            InputError: if a value is missing, of a wrong type or out of bounds, or a name is both forgotten and kept.
        """
        texts = (base, forget or "", keep or "", source, strength, dataset or "", method or "")
        if not all(isinstance(text, str) for text in texts):
            raise InputError("Expected text in every field but the budget: names are one per line.")
        method = method or (EDIT if source == NAMES else CONTEXT)
        _check_choice("source of images", source, SOURCES)
        _check_choice("strength", strength, STRENGTHS)
        _check_choice("method", method, METHODS)
        budget = as_number(budget)
        if not isinstance(budget, int | float) or not BUDGETS[0] <= budget <= BUDGETS[1]:
            raise InputError(f"The budget is {BUDGETS[0]:,} to {BUDGETS[1]:,} queries, got {str(budget)[:20]}.")
        forgotten = parse_labels(forget or "", MAX_CLASSES, "names to forget")
        kept = parse_labels(keep, MAX_CLASSES, "names to keep") if has_names(keep or "") else []
        if not kept and method == CONTEXT and source in (DRAWINGS, NAMES):
            raise InputError("There are no names to keep: write at least one, so that the model keeps something.")
        _check_names(forgotten, kept)
        return cls(
            base, forgotten, kept, source, int(budget), STRENGTHS[strength], list(files or ()),
            (dataset or "").strip(), method, describe_repeats(forget or "", keep or ""),
        )  # fmt: skip


def _check_choice(what: str, value: str, choices: Sequence[str] | dict[str, str] | dict[str, float]) -> None:
    if value not in choices:
        raise InputError(f"There is no {what} '{value[:40]}'; choose {', '.join(choices)}.")


def _check_names(forgotten: list[str], kept: list[str]) -> None:
    if both := [name for name in kept if name in forgotten]:
        raise InputError(f"'{both[0]}' is to be forgotten and kept; remove it from one list.")
    if (count := len(forgotten) + len(kept)) > MAX_CLASSES:
        raise InputError(f"These are {count} names; at most {MAX_CLASSES} are allowed.")
