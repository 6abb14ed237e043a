"""What an adapter is audited on: images and words, from folders or from the demo."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_unlearn.arguments import is_file
from hf_unlearn.cli.images import EVALUATE, FIT, LEARN, Reading, warn_of_overlap
from hf_unlearn.cli.inputs import read_strings, read_words
from hf_unlearn.errors import InputError

if TYPE_CHECKING:
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.data.labeled_images import LabeledImages

SHIPPED = "professions"  # the groups that come with the demo


@dataclass
class Material:
    """Images to evaluate on, and the other keyword arguments of `audit` that are images and words."""

    images: LabeledImages
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """Where the images and words of an audit come from, as the command line names them.

    Attributes:
        reading: how folders are read.
        data, validation, unlisted, train: folders of images; without `data` the demo's images are used.
        words, groups: JSON files; `groups` may be `SHIPPED`.
        membership: whether training images are needed.
        seed: fixes the division of `data` where there is no `validation`.
    """

    reading: Reading
    data: Path | None
    validation: Path | None
    unlisted: Path | None
    train: Path | None
    words: Path | None
    groups: str | None
    membership: bool
    seed: int

    def material(self, adapter: ForgetAdapter) -> Material:
        """Reads all of it.

        Raises:
            InputError: if a source is missing, can't be read, or does not go with the others.
        """
        made = self._from_demo(adapter) if self.data is None else self._from_folders(self.data)
        if self.unlisted:
            made.extra["unlisted"] = Reading(skip_broken=self.reading.skip_broken).images(self.unlisted, EVALUATE)
            made.extra.pop("unlisted_validation", None)
        if self.words:
            kinds = read_words(self.words)
            made.extra["synonyms"] = {**made.extra.get("synonyms", {}), **kinds.pop("synonyms", {})}
            made.extra["vocabulary"] = {**made.extra.get("vocabulary", {}), **kinds}
        if self.groups is not None:
            made.extra |= _read_groups(self.groups, adapter, self.data is None, made.extra.get("unlisted"))
        return made

    def _from_demo(self, adapter: ForgetAdapter) -> Material:
        of_data = {
            "validation": self.validation, "names": self.reading.names, "train": self.train,
            "leave-out": self.reading.leave_out,
        }  # fmt: skip
        if option := next((name for name, value in of_data.items() if value), None):
            raise InputError(f"--{option} goes with --data; without it the demo's images are used")
        return demo_material(adapter, self.membership)

    def _from_folders(self, data: Path) -> Material:
        images = self.reading.images(data, EVALUATE)
        if self.validation:
            fitted = self.reading.images(self.validation, FIT, strict=False)
            warn_of_overlap(images, fitted, "--validation")
        else:  # one half of every class is evaluated, the other is the attacker's
            images, fitted, _ = images.few_shot(len(images), self.seed)
        made = Material(images, {"validation": fitted})
        if self.membership:
            trained = self.reading.images(self.train, LEARN, strict=False) if self.train else fitted
            made.extra["training"] = trained
        return made


def demo_material(adapter: ForgetAdapter, membership: bool) -> Material:
    """The embedded base's images, synonyms and words.

    Raises:
        InputError: if the adapter is not for the embedded base and its concepts.
    """
    from hf_unlearn.demo import emoji_tasks as demo
    from hf_unlearn.models.embedded import EMBEDDED

    config = adapter.config
    names = (*config.forget, *config.retain)
    if adapter.kind == "edit":  # it keeps everything else, listed or not
        kept = (name for name in (*config.retain, *demo.tasks()["moderation"][0]["names"]) if name in demo.concepts())
        names = tuple(dict.fromkeys((*config.forget, *kept)))
    if config.base_model != EMBEDDED or not set(names) <= set(demo.concepts()):
        raise InputError(
            "give the images to audit it on with --data FOLDER: only adapters of the embedded CLIP for classes of "
            "the demo come with images"
        )
    task = demo.task_of(names, tuple(config.forget))
    extra: dict[str, Any] = {
        "validation": task.validation,
        "unlisted": task.unlisted,
        "unlisted_validation": task.unlisted_validation,
        "synonyms": task.synonyms,
        "vocabulary": demo.attack_words(),
        "pictures": demo.by_artist(task.forget, "test"),
        "drawings": demo.drawing_numbers(names, "test", demo.JUDGED),
    }
    if membership:
        extra["training"] = demo.plain(names, "train")
    return Material(task.test, extra)


def _read_groups(source: str, adapter: ForgetAdapter, of_demo: bool, unlisted: LabeledImages | None) -> dict[str, Any]:
    from hf_unlearn.demo import emoji_tasks as demo

    path = demo.PROFESSIONS if source == SHIPPED and not is_file(source) else Path(source)
    groups = read_strings(path, "--groups")
    listed = {*adapter.config.forget, *adapter.config.retain}
    strangers = [name for name in groups if name not in listed]
    if of_demo and strangers and set(strangers) <= set(demo.concepts()):
        return {"groups": groups, "group_pictures": demo.plain(strangers, "test")}
    return {"groups": groups, "group_pictures": unlisted if strangers else None}
