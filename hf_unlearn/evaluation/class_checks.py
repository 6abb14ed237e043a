"""Checks that images, validation images and adapters have the same classes."""

from __future__ import annotations

from collections.abc import Sequence

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.data.class_names import difference, like
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief


def check_classes(adapter: ForgetAdapter, names: Sequence[str]) -> None:
    """Checks that the images' classes are the adapter's.

    An edit keeps everything that it does not forget, so its images may be of any other classes as well.

    Args:
        names: the classes of the images.

    Raises:
        InputError: if they are not; it says which.
    """
    forget, retain = adapter.config.forget, adapter.config.retain
    if adapter.kind == "edit":
        if missing := [name for name in forget if name not in names]:
            raise InputError(
                f"the adapter forgets {brief(missing[0])}, which is none of the {len(names)} classes of the images"
                f"{like(missing[0], names)}; name the classes alike"
            )
    elif set(retain) | set(forget) != set(names):
        raise InputError(
            f"the adapter's {len(forget)} forget and {len(retain)} retain classes are not the {len(names)} classes "
            f"of the images ({difference([*forget, *retain], names)}); name the classes alike"
        )


def check_validation(validation: LabeledImages | None, names: Sequence[str]) -> None:
    """Checks that validation images have the classes of the images evaluated, in their order.

    Raises:
        InputError: if they don't; it says which classes differ.
    """
    if validation is None or validation.names == tuple(names):
        return
    differing = difference(names, validation.names)
    raise InputError(
        "validation images must have the same classes, in the same order, as the images evaluated"
        + (f" ({differing})" if differing else "; the order differs: use validation.only(images.names)")
    )
