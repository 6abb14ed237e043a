"""What an audit is given beside model, adapter and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.arguments import LARGEST_SEED, whole_number
from hf_unlearn.data.class_names import check_names, synonym_lists
from hf_unlearn.data.labeled_images import LabeledImages, check_optional_images
from hf_unlearn.text import brief


@dataclass(frozen=True)
class Inputs:
    """The keyword arguments of `audit`, checked; names are spelled as the images' are.

    Raises:
        InputError: if a number is out of bounds, or words, groups or images are of the wrong type.
    """

    validation: LabeledImages | None
    unlisted: LabeledImages | None
    unlisted_validation: LabeledImages | None
    synonyms: Mapping[str, Sequence[str]]
    vocabulary: Mapping[str, Mapping[str, Sequence[str]]]
    pictures: Mapping[str, LabeledImages]
    others: Mapping[str, ForgetAdapter]
    drawings: Sequence[int] | None
    groups: Mapping[str, str] | None
    group_pictures: LabeledImages | None
    training: LabeledImages | None
    models: int
    relearn_queries: int
    seed: int

    @classmethod
    def check(
        cls,
        *,
        validation: LabeledImages | None,
        unlisted: LabeledImages | None,
        unlisted_validation: LabeledImages | None,
        synonyms: Mapping[str, Sequence[str]] | None,
        vocabulary: Mapping[str, Mapping[str, Sequence[str]]] | None,
        pictures: Mapping[str, LabeledImages] | None,
        others: Mapping[str, ForgetAdapter] | None,
        drawings: Sequence[int] | None,
        groups: Mapping[str, str] | None,
        group_pictures: LabeledImages | None,
        training: LabeledImages | None,
        models: int,
        relearn_queries: int,
        seed: int,
    ) -> Inputs:
        """Checks what a user gives to `audit`."""
        check_optional_images(
            validation=validation, unlisted=unlisted, unlisted_validation=unlisted_validation,
            group_pictures=group_pictures, training=training,
        )  # fmt: skip
        return cls(
            validation=validation,
            unlisted=unlisted,
            unlisted_validation=unlisted_validation,
            synonyms=synonym_lists(synonyms),
            vocabulary={
                kind: synonym_lists(words, f"vocabulary[{brief(kind)}]") for kind, words in (vocabulary or {}).items()
            },
            pictures=pictures or {},
            others=others or {},
            drawings=drawings,
            groups=_check_groups(groups),
            group_pictures=group_pictures,
            training=training,
            models=whole_number("models", models),
            relearn_queries=whole_number("relearn_queries", relearn_queries),
            seed=whole_number("seed", seed, 0, LARGEST_SEED),
        )


def _check_groups(groups: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Class -> group, the classes spelled as images spell theirs. Raises: InputError: if a class is listed twice."""
    if not groups:
        return groups
    return dict(zip(check_names(list(groups), "groups"), groups.values(), strict=True))
