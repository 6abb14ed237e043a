"""What the Space does, without Gradio: find saved adapters, read images and labels, score before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from hf_unlearn.card import DUAL_USE, SCOPE
from hf_unlearn.data import to_rgb

if TYPE_CHECKING:
    from hf_unlearn import ClipBlackBox, ForgetAdapter

PLACES = ("runs/*/adapter", "runs/*", "space/adapters/*")
EMBEDDED = "embedded"  # as in hf_unlearn.black_box, which loads torch
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF")  # no decoder that starts other programs
MAX_PIXELS, MAX_RATIO = 25_000_000, 20  # a model resizes the short side, so a thin strip would grow huge
MAX_LABELS, MAX_LABEL = 1_000, 200
MARK = " (to be forgotten)"
SHOWN = 200  # names of a list that are written out
_loading = Lock()

Scores = dict[str, float]


def open_image(path: str | Path | BinaryIO) -> Image.Image:
    """An uploaded image file, upright RGB; its size is known before its pixels are decoded.

    Raises:
        ValueError: if it is no image of a format we read, or larger than `check_image` allows.
    """
    Image.init()
    try:
        image = Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])  # old Pillows lack AVIF
    except Image.DecompressionBombError:
        raise ValueError(_too_large("more than 100")) from None
    except (OSError, ValueError, SyntaxError):
        raise ValueError("This file is not an image we can read; use PNG, JPEG, WebP, GIF, BMP or AVIF.") from None
    with image:
        check_image(image)
        return to_rgb(image)


def check_image(image: object) -> Image.Image:
    """The image itself.

    Raises:
        ValueError: if it is no PIL image, has more than 25 megapixels or is a thin strip.
    """
    if image is None:
        raise ValueError("There is no image yet: drop one, paste one, or pick a drawing.")
    if not isinstance(image, Image.Image):
        raise ValueError(f"Expected a PIL image, got {type(image).__name__}.")
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(_too_large(f"{image.width * image.height / 1e6:.0f}"))
    if max(image.size) > MAX_RATIO * min(image.size):
        size = f"{image.width} × {image.height}"
        raise ValueError(f"This image is a strip of {size} pixels; its sides may differ by a factor of {MAX_RATIO}.")
    return image


def parse_labels(text: str) -> list[str]:
    """Labels from a text: one per line, or on a single line separated by commas. Duplicates count once.

    Raises:
        ValueError: if none is left, there are more than 1,000, or one is longer than 200 characters.
    """
    if len(text) > MAX_LABELS * (MAX_LABEL + 2):
        raise ValueError(f"The labels are too long a text; at most {MAX_LABELS:,} of {MAX_LABEL} characters are read.")
    parts = text.splitlines() if len(text.strip().splitlines()) > 1 else text.split(",")
    labels = dict.fromkeys(name for part in parts if (name := _line(part.strip(", ")).removesuffix(MARK)))
    if not labels:
        raise ValueError("There are no labels: write at least one, one per line or separated by commas.")
    if len(labels) > MAX_LABELS:
        raise ValueError(f"These are {len(labels):,} labels; at most {MAX_LABELS:,} are scored at once.")
    if longest := next((label for label in labels if len(label) > MAX_LABEL), None):
        raise ValueError(f"The label '{longest[:30]}…' has {len(longest):,} characters; at most {MAX_LABEL} are read.")
    return list(labels)


def plain_text(value: str) -> str:
    """A string from a stranger as Markdown in which nothing is markup: specials become HTML entities."""
    return "".join(c if c.isalnum() or c in " ,'" else f"&#{ord(c)};" for c in _line(value) if c.isprintable())


def describe(adapter: ForgetAdapter) -> str:
    """Markdown: what an adapter forgets and keeps, and where it comes from."""
    config = adapter.config
    lines = [
        f"**Forgets {len(config.forget)}:** {_names(config.forget)}",
        f"**Keeps {len(config.retain)}:** {_names(config.retain)}",
    ]
    facts = [f"method {plain_text(config.method)}"]
    if isinstance(queries := config.ledger.get("queries"), int | float):
        facts.append(f"{queries:,.0f} queries")
    for key, words in (("err_for", "wrong on forgotten"), ("acc_mem", "right on kept")):
        if isinstance(value := config.metrics.get(key), int | float):
            facts.append(f"{words} {value:.0%}")
    return "\n\n".join([*lines, f"Base {plain_text(config.base_model)}, " + ", ".join(facts)])


def labels_of(adapter: ForgetAdapter) -> str:
    """The adapter's forget and retain names, one per line, as many as can be scored."""
    return "\n".join([*adapter.config.forget, *adapter.config.retain][:MAX_LABELS])


def drawings(adapter: ForgetAdapter, each: int = 6) -> list[tuple[Image.Image, str]]:
    """Test drawings of the embedded demo for some forget and retain names, with those names; maybe none."""
    from hf_unlearn import demo

    if not demo.ARCHIVE.is_file():
        return []
    found = []
    for names in (adapter.config.forget, adapter.config.retain):
        if not (known := [name for name in names if name in demo.concepts()]):
            continue
        images = demo.plain(known[:: max(1, len(known) // each)][:each], "test")
        for label, name in enumerate(images.names):
            if label in images.labels:
                found.append((images[images.labels.index(label)], name))
    return found


@dataclass(frozen=True)
class Shelf:
    """The saved adapters that visitors may choose from, and the base models these are for.

    Attributes:
        root: the folder that holds `runs` and `space/adapters`.
        bases: base model as adapters name it -> what `ClipBlackBox` loads.
    """

    root: Path
    bases: Mapping[str, str] = field(default_factory=lambda: {EMBEDDED: EMBEDDED})

    def adapters(self, base: str | None = None) -> tuple[dict[str, ForgetAdapter], list[str]]:
        """Adapters by folder, relative to the root, and one Markdown line per folder that was left out."""
        found, left_out = {}, []
        for key in self._folders():
            try:
                adapter = self._load(key)
            except ValueError as error:
                left_out.append(f"{plain_text(key)} is left out: {plain_text(str(error))}")
                continue
            if base in (None, adapter.config.base_model):
                found[key] = adapter
        return found, left_out

    def adapter(self, key: object) -> ForgetAdapter:
        """A saved adapter by its folder.

        Raises:
            ValueError: if it is none of the listed ones, damaged, or made for a base not offered here.
        """
        if not key:
            raise ValueError("No adapter is chosen; if none is saved yet, run 'make demo' and refresh the list.")
        if not isinstance(key, str) or key not in self._folders():
            raise ValueError(f"There is no saved adapter '{str(key)[:80]}'; refresh the list and choose one of it.")
        return self._load(key)

    def classify(
        self, image: Image.Image | None, adapter: str | None, labels: str, enabled: bool = True
    ) -> tuple[Scores, Scores, str]:
        """Scores of an image by the plain model and with an adapter, and what that means, as Markdown.

        Args:
            adapter: folder of a saved adapter, one of `adapters()`.
            labels: see `parse_labels`.
            enabled: False leaves the adapter out, so that both scores are the plain model's.

        Raises:
            ValueError: if image, adapter or labels are none we take; the message is for the visitor.
        """
        from hf_unlearn import AdaptedClip

        picture = check_image(image)
        names = parse_labels(labels)
        chosen = self.adapter(adapter)
        adapted = AdaptedClip(model(self.bases[chosen.config.base_model]), chosen)  # our own: `disabled` is a state
        with adapted.disabled() as plain:
            before = plain.classify([picture], names)[0].tolist()
        after = adapted.classify([picture], names)[0].tolist() if enabled else before
        gone = {_line(name).casefold() for name in chosen.config.forget}
        forgotten = [name.casefold() in gone for name in names]
        keys = [name + MARK if marked else name for name, marked in zip(names, forgotten, strict=True)]
        words = status(chosen, enabled, _outcome(names, forgotten, before, after, enabled))
        return dict(zip(keys, before, strict=True)), dict(zip(keys, after, strict=True)), words

    def _folders(self) -> list[str]:
        from hf_unlearn.adapter import CONFIG, CONTEXT

        folders = [folder for place in PLACES for folder in sorted(self.root.glob(place))]
        return [
            folder.relative_to(self.root).as_posix()
            for folder in folders
            if not folder.name.startswith(".") and all((folder / name).is_file() for name in (CONFIG, CONTEXT))
        ]

    def _load(self, key: str) -> ForgetAdapter:
        from hf_unlearn import ForgetAdapter

        try:
            adapter = ForgetAdapter.from_pretrained(self.root / key)
        except ValueError as error:
            raise ValueError(str(error).replace(f"{self.root}/", "")) from error
        if adapter.config.base_model not in self.bases:
            raise ValueError(f"it was made for '{adapter.config.base_model}', which this Space does not offer.")
        return adapter


def status(adapter: ForgetAdapter, enabled: bool, outcome: str = "") -> str:
    """Markdown: whether the adapter is in effect, what came of it, which names it forgets, and what that is not."""
    forget = adapter.config.forget
    names = f"{len(forget):,} name{'s' * (len(forget) > 1)}: {_names(forget)}."
    if enabled:
        return f"**The adapter is in effect** on the right. {outcome}\n\nIt suppresses {names}\n\n{SCOPE}"
    off = "**The adapter is switched off**: both sides are the plain model."
    return f"{off} {outcome}\n\nSwitched on, it suppresses {names}\n\n{SCOPE}"


def about() -> str:
    """Markdown: how it works and its limits."""
    return (
        "A CLIP scores an image against each label's prompt. An adapter puts a few learned token embeddings before "
        "that prompt; they were searched for with forward calls only, so that images of the names to forget no longer "
        "find their label while the other names keep theirs. The model's weights stay as they are. The test drawings "
        "are by artists whose work neither the embedded model nor its adapters were trained on.\n\n"
        f"{SCOPE}\n\n{DUAL_USE}\n\n"
        "Scores are shares among the labels you give and always sum to 100%: with other labels they differ. An "
        "adapter was judged on the names in its lists; for others there is no promise. The embedded model is small, "
        "was trained on emoji drawings, and knows little of photos."
    )


def _outcome(
    names: Sequence[str], forgotten: Sequence[bool], before: Sequence[float], after: Sequence[float], enabled: bool
) -> str:
    def best(scores: Sequence[float]) -> str:
        top = max(range(len(scores)), key=scores.__getitem__)
        return f"**{plain_text(names[top])}** ({scores[top]:.0%})"

    def share(scores: Sequence[float]) -> str:
        return f"{sum(score for score, marked in zip(scores, forgotten, strict=True) if marked):.0%}"

    seen = f"The plain model says {best(before)}"
    seen += f", with the adapter it says {best(after)}." if enabled else "."
    if not any(forgotten):
        return f"{seen} None of your labels is a name that this adapter forgets."
    together = f"The names to be forgotten share {share(before)} of the score"
    return f"{seen} {together} before, {share(after)} after." if enabled else f"{seen} {together}."


def model(source: str) -> ClipBlackBox:
    """The model behind a Hub id or folder, loaded once."""
    with _loading:  # else two first visitors load the same model twice
        return _cached_model(source)


@lru_cache(maxsize=2)
def _cached_model(source: str) -> ClipBlackBox:
    from hf_unlearn import ClipBlackBox

    return ClipBlackBox(source)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(plain_text, names[:SHOWN])) + more


def _line(text: str) -> str:
    return " ".join(text.split())


def _too_large(megapixels: str) -> str:
    return f"This image has {megapixels} megapixels; at most {MAX_PIXELS // 1_000_000} are read. Make it smaller."
