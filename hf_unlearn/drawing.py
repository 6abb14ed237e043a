"""Figures without a display or the user's settings, in fonts that have the characters of every name."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

from hf_unlearn.text import plain

FIRST = "DejaVu Sans"  # comes with matplotlib
CJK = ("noto_cjk_sans_jp_regular", "NotoSansCJKjp-Regular.otf")  # the extra `cjk`: all of Chinese, Japanese, Korean
LONGEST = 40  # characters of a name in a picture
_alone = threading.RLock()  # matplotlib's settings are the process's


@contextmanager
def default_figures(texts: Iterable[str]) -> Iterator[type]:
    """Gives `matplotlib.figure.Figure`, which within the block draws under matplotlib's default settings.

    Args:
        texts: the names that it will show. One warning names the characters that no font here has.
    """
    with _alone:
        matplotlib = _matplotlib()
        from matplotlib.figure import Figure  # its canvas is Agg as long as nobody gives it another

        families, missing = _fonts("".join(sorted(set().union(*map(label, texts)))))
        defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
        ours = {"font.family": families, "text.parse_math": False}  # a name such as $x$ is no formula
        with matplotlib.rc_context(defaults | ours), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph|.*constrained_layout", UserWarning)
            yield Figure
    if missing:
        warnings.warn(
            f"no font here has the characters {missing[:20]}: pictures show boxes in their place; install a font of "
            "the system that has them, or, for Chinese, Japanese and Korean, pip install 'hf_unlearn[cjk]'",
            stacklevel=3,
        )


def label(text: str) -> str:
    """A name as a picture shows it: one line of visible characters, of at most 40 characters."""
    line = plain(text)
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _matplotlib() -> Any:
    """Imports matplotlib, even if the user's settings break the import."""
    if "matplotlib" not in sys.modules:
        backend = os.environ.get("MPLBACKEND")  # set for a notebook, perhaps, which this process is not
        with _environment(MPLBACKEND=None):
            try:
                import matplotlib
            except Exception:  # a settings file that is no text
                for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
                    del sys.modules[name]
                with _environment(MATPLOTLIBRC=None, MPLCONFIGDIR=os.devnull):  # it then takes an empty folder
                    import matplotlib
        if backend:
            with suppress(ValueError):
                matplotlib.rcParams["backend"] = backend  # as matplotlib would have done
    return sys.modules["matplotlib"]


@contextmanager
def _environment(**values: str | None) -> Iterator[None]:
    """Sets environment variables within the block; None removes one."""
    before = {name: os.environ.get(name) for name in values}

    def put(those: dict[str, str | None]) -> None:
        for name, value in those.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    put(values)
    try:
        yield
    finally:
        put(before)


@lru_cache(maxsize=32)
def _fonts(needed: str) -> tuple[list[str], str]:
    """Font families that together have these characters, and the characters that no family has."""
    from matplotlib import font_manager

    default = font_manager.findfont(FIRST)
    families, missing = [FIRST], {char for char in needed if char.isprintable() and not char.isspace()}
    missing -= _characters(default)
    for family, path in _others() if missing else ():
        if found := missing & _characters(path):
            families.append(family)
            missing -= found
        if not missing:
            break
    return families, "".join(sorted(missing))


@cache
def _others() -> list[tuple[str, str]]:
    """Family and file of the other fonts here: upright, those with most characters first; none of matplotlib's."""
    import matplotlib
    from matplotlib.font_manager import fontManager

    shipped = str(matplotlib.get_data_path())
    if (package := find_spec(CJK[0])) is not None and package.submodule_search_locations:
        path = os.path.join(package.submodule_search_locations[0], CJK[1])
        if path not in {entry.fname for entry in fontManager.ttflist}:
            fontManager.addfont(path)
    entries = [
        entry
        for entry in fontManager.ttflist
        if entry.style == "normal" and getattr(entry, "index", 0) == 0 and not entry.fname.startswith(shipped)
    ]
    # a bold face would do, yet the regular one is what matplotlib looks for by the family's name
    entries.sort(key=lambda entry: ("CJK" not in entry.name, "Sans" not in entry.name, entry.weight != 400, entry.name))
    return list({entry.name: entry.fname for entry in reversed(entries)}.items())[::-1]


@cache
def _characters(path: str) -> frozenset[str]:
    """The characters of a font; empty if it can't be read or is made of pixels, as some emoji fonts are."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable and "LastResort" not in path else frozenset()
    except (OSError, RuntimeError, ValueError):
        return frozenset()
