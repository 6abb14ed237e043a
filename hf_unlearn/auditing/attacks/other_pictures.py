"""Attack by other pictures of the forgotten things, say by other artists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hf_unlearn.auditing.attack_results import CALLER, Attack, Try
from hf_unlearn.auditing.attacks.picture_changes import try_pictures
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief


def plan_other_pictures(case: Case, given: Inputs) -> Iterator[Step[Attack]]:
    """One step, if there are such pictures."""
    if given.pictures:
        yield Step("other pictures", 8, lambda _: try_other_pictures(case, given.pictures))


def try_other_pictures(case: Case, pictures: Mapping[str, LabeledImages]) -> Attack:
    """Other pictures of forget classes.

    Args:
        pictures: kind (say, artist) -> images.

    Raises:
        InputError: if one is of a class that the adapter does not have.
    """
    tries: list[Try] = []
    for what, images in pictures.items():
        if unknown := [name for name in images.names if name not in case.names]:
            raise InputError(f"pictures of {brief(what)}: {brief(unknown[0])} is no class of the adapter")
        labels = tuple(case.names.index(images.names[label]) for label in images.labels)
        tries += try_pictures(case, what, LabeledImages(images.items, labels, case.names))
    return Attack("other pictures", CALLER, "Does a picture by someone else bring it back?", tuple(tries))
