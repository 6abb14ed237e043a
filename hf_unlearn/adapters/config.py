"""What an adapter's `config.json` holds, and how it is read. Everything in it may come from a stranger."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hf_unlearn import __version__
from hf_unlearn.arguments import share
from hf_unlearn.data.class_names import check_names, synonym_lists
from hf_unlearn.data.synonyms import asked_names
from hf_unlearn.errors import AdapterError
from hf_unlearn.files import parse_json
from hf_unlearn.hub.ids import inside, is_commit, is_repo_id

FORMAT_VERSION = 2  # version 1 knew contexts only
CONFIG = "config.json"
MAX_TOKENS, MAX_DIM, MAX_DEPTH = 512, 16_384, 20
MAX_RANK, MAX_SIZE = 4_096, 2**21  # of an edit; the second bounds width × rank: 16 MiB
MAX_NEIGHBOURS = 200
KINDS = ("context", "edit")


@dataclass(frozen=True)
class AdapterConfig:
    """What `config.json` holds.

    Attributes:
        base_model: Hub id of the base, `"embedded"`, or a folder's name.
        base_revision: the commit of the base, if it came from the Hub.
        base_subfolder: where in its repository or folder the base is; None for the folder itself.
        base_fingerprint: text features of eight fixed strings, 32 numbers each.
        template: the prompt around a class name.
        forget, retain: class names; an edit's `retain` may be empty: it keeps everything else.
        synonyms: forget class -> other names that it was trained to be forgotten under as well.
        method, hyperparameters, seed: how it was trained.
        ledger: queries, text tokens, image encodings, seconds, peak memory.
        metrics: the adapter's figures on the images it was evaluated on, if any.
        weights_sha256: of the weights' float32 bytes, so that files of two adapters can't mix.
        kind: "context" (a soft prompt) or "edit" (a low-rank map of the text features).
        n_ctx, dim: shape of the context; None for an edit.
        width, rank: shape of the edit; None for a context.
        neighbours: for an edit, the words that it changes most: `word`, `of` (the forgotten name it is near) and
            `similarity`, a cosine of before and after, 1 where unchanged.
        few_shot_digest: `salt` and `sha256` of the few-shot set (`LabeledImages.salted_digest`). Someone who
            has the images can recognize the set; no one can recognize one image.
        license, datasets: what the maker says about the adapter: a licence's identifier, data sets on the Hub.

    Raises:
        AdapterError: if a field has another type or is out of bounds; the field is named.
    """

    base_model: str
    base_fingerprint: list[list[float]]
    template: str
    forget: list[str]
    retain: list[str]
    method: str
    weights_sha256: str
    kind: str = "context"
    n_ctx: int | None = None
    dim: int | None = None
    width: int | None = None
    rank: int | None = None
    neighbours: list[dict[str, Any]] = field(default_factory=list)
    base_revision: str | None = None
    base_subfolder: str | None = None
    synonyms: dict[str, list[str]] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    ledger: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    few_shot_digest: dict[str, str] = field(default_factory=dict)
    license: str | None = None
    datasets: list[str] = field(default_factory=list)
    library_version: str = __version__
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        self._expect("format_version", _integer(self.format_version, 10**6), "a whole number")
        self._expect("kind", isinstance(self.kind, str) and self.kind in KINDS, f"one of {', '.join(KINDS)}")
        self._check_shape()
        for name in ("base_model", "template", "method", "weights_sha256", "library_version"):
            value = getattr(self, name)
            self._expect(name, isinstance(value, str) and 0 < len(value) <= 500, "text")
        self._expect("template", self.template.count("{}") == 1, "text with one {}")
        self._expect("base_revision", self.base_revision is None or is_commit(self.base_revision), "a commit or null")
        right = self.base_revision is None or is_repo_id(self.base_model)
        self._expect("base_model", right, "a Hub id, as base_revision is one's commit")
        self._expect("base_subfolder", self.base_subfolder is None or _path(self.base_subfolder), "a path or null")
        self._expect("seed", self.seed is None or type(self.seed) is int, "a whole number or null")
        for name, fewest in (("forget", 1), ("retain", 0 if self.kind == "edit" else 1)):
            value = getattr(self, name)
            self._expect(name, isinstance(value, list) and fewest <= len(value) <= 100_000, "a list of names")
        self._clean_names()
        self._check_hyperparameters()
        for name, gaps in (("ledger", False), ("metrics", True)):
            value = getattr(self, name)
            right = isinstance(value, dict) and all(number(x) or (gaps and x is None) for x in value.values())
            self._expect(name, right, "an object of numbers")
        digest = self.few_shot_digest
        right = isinstance(digest, dict) and (
            not digest or (set(digest) == {"salt", "sha256"} and all(_hex(value, 32, 64) for value in digest.values()))
        )
        self._expect("few_shot_digest", right, "an object of salt and sha256")
        self._expect("license", self.license is None or is_repo_id(self.license), "a licence's identifier or null")
        right = isinstance(self.datasets, list) and len(self.datasets) <= 100 and all(map(is_repo_id, self.datasets))
        self._expect("datasets", right, "a list of data set ids")
        self._expect("base_fingerprint", _matrix(self.base_fingerprint), "rows of numbers between -1 and 1")

    def _clean_names(self) -> None:
        """Writes all names as `clean_name` does, also those of other makers."""
        try:
            names = check_names([*self.forget, *self.retain])
        except ValueError as error:
            raise AdapterError(f"{CONFIG}: forget and retain: {error}") from error
        right = isinstance(self.synonyms, dict) and all(isinstance(names, list) for names in self.synonyms.values())
        self._expect("synonyms", right, "an object, class -> list of names")
        forget, retain = names[: len(self.forget)], names[len(self.forget) :]
        try:
            others = synonym_lists(self.synonyms)
            asked_names(names, forget, others)
        except ValueError as error:
            raise AdapterError(f"{CONFIG}: {error}") from error
        for name, value in (("forget", forget), ("retain", retain), ("synonyms", others)):
            object.__setattr__(self, name, value)

    def _check_hyperparameters(self) -> None:
        right = isinstance(self.hyperparameters, dict) and finite(self.hyperparameters)
        self._expect("hyperparameters", right, "an object without NaN")
        for dial in {"breadth", "strength"} & set(self.hyperparameters):
            try:
                share(f"hyperparameters.{dial}", self.hyperparameters[dial])
            except ValueError as error:
                raise AdapterError(f"{CONFIG}: {error}") from error

    def _check_shape(self) -> None:
        of_context, of_edit = {"n_ctx": MAX_TOKENS, "dim": MAX_DIM}, {"width": MAX_DIM, "rank": MAX_RANK}
        bounds = of_context if self.kind == "context" else of_edit
        for name in ("n_ctx", "dim", "width", "rank"):
            if name in bounds:
                self._expect(name, _integer(getattr(self, name), bounds[name]), f"1 to {bounds[name]}")
            else:
                self._expect(name, getattr(self, name) is None, f"null for an adapter of kind {self.kind}")
        if self.width is not None and self.rank is not None:
            most = MAX_SIZE // self.width
            self._expect("rank", self.rank <= most, f"at most {most} at width {self.width}")
        right = isinstance(self.neighbours, list) and len(self.neighbours) <= MAX_NEIGHBOURS
        right = right and all(map(_neighbour, self.neighbours))
        self._expect("neighbours", right, f"at most {MAX_NEIGHBOURS} objects of word, of and similarity (-1 to 1)")
        self._expect("neighbours", self.kind == "edit" or not self.neighbours, "empty for a context")

    def _expect(self, name: str, right: bool, what: str) -> None:
        if not right:
            raise AdapterError(f"{CONFIG}: {name} must be {what}, got {str(getattr(self, name))[:80]!r}")


def read_config(path: Path) -> AdapterConfig:
    """Reads `config.json` of any version; keys of a newer library are ignored, and a warning names them.

    Raises:
        AdapterError: if it is no such file, tampered with, or of a newer format.
    """
    content = read_json(path)
    version = content.get("format_version", FORMAT_VERSION)
    if _integer(version, 10**6) and version > FORMAT_VERSION:
        raise AdapterError(
            f"{path}: format_version {version} is newer than this library reads ({FORMAT_VERSION}); "
            "upgrade: pip install -U hf_unlearn"
        )
    if type(version) is int and version == 1:
        content = _from_version_1(content)
    known = {item.name for item in fields(AdapterConfig)}
    if unknown := sorted(set(content) - known):
        warnings.warn(f"{path}: ignoring {', '.join(unknown)}, from a newer version of hf_unlearn", stacklevel=4)
    try:
        return AdapterConfig(**{key: value for key, value in content.items() if key in known})
    except TypeError as error:
        raise AdapterError(f"{path}: {error}".replace("AdapterConfig.__init__() ", "")) from error


def _from_version_1(content: dict[str, Any]) -> dict[str, Any]:
    """Converts version 1: all adapters were contexts, and the digest had another name."""
    content = {**content, "format_version": FORMAT_VERSION}
    if "context_sha256" in content:
        content["weights_sha256"] = content.pop("context_sha256")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Raises: AdapterError: if the file holds no JSON object."""
    try:
        content = parse_json(path.read_bytes(), nan=True)  # a field with NaN is refused by its name
    except ValueError as error:
        raise AdapterError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise AdapterError(f"{path}: expected a JSON object, got {type(content).__name__}")
    if _depth(content) > MAX_DEPTH:
        raise AdapterError(f"{path}: nested more than {MAX_DEPTH} deep; no adapter is")
    return content


def _depth(content: object) -> int:
    depth, level = 0, [content]
    while level:
        depth += 1
        inside = [list(x.values()) if isinstance(x, dict) else x for x in level if isinstance(x, dict | list)]
        level = [value for values in inside for value in values]
    return depth


def _integer(value: object, top: int) -> bool:
    return type(value) is int and 1 <= value <= top


def _hex(value: object, *lengths: int) -> bool:
    return isinstance(value, str) and len(value) in lengths and re.fullmatch("[0-9a-f]+", value) is not None


def number(value: object) -> bool:
    """Whether a value from JSON is a finite number that a float holds."""
    return (type(value) is int and abs(value) < 2**53) or (isinstance(value, float) and math.isfinite(value))


def finite(content: object) -> bool:
    """Whether JSON can hold a value: no NaN and no infinity in it."""
    try:
        json.dumps(content, allow_nan=False)
    except ValueError:
        return False
    return True


def _path(value: object) -> bool:
    """Whether a value is a path inside a repository, written as `inside` writes it."""
    try:
        return isinstance(value, str) and 0 < len(value) <= 500 and inside(value) == value
    except ValueError:
        return False


def _neighbour(item: object) -> bool:
    return (
        isinstance(item, dict)
        and set(item) == {"word", "of", "similarity"}
        and all(isinstance(item[key], str) and 0 < len(item[key]) <= 500 for key in ("word", "of"))
        and number(item["similarity"])
        and abs(item["similarity"]) <= 1
    )


def _matrix(rows: object) -> bool:
    return (
        isinstance(rows, list)
        and len(rows) > 0
        and all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows)
        and all(number(value) and abs(value) <= 1 for row in rows for value in row)
    )
