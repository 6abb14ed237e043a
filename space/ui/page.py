"""What all tabs share: how errors are said, queues, looks."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from functools import wraps
from html import escape
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import gradio as gr
from PIL import Image

from space.error_log import log_error
from space.inputs.limits import open_image

MAX_SAID = 1_000  # letters of an error: a stranger's model may hold words of any length
ODD_REQUEST = "This request lacks a value, or one is of a wrong kind; 'Use via API' on the page shows what is taken."
OUR_FAULT = "Something went wrong here ({}), which is not your fault. Try again, or with other input."
OURS = tuple(str(Path(__file__).resolve().parents[2] / name) for name in ("space", "hf_unlearn"))

P = ParamSpec("P")
R = TypeVar("R")

HEAVY: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "model"}
RUN: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "run"}
LIGHT: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "page", "show_progress": "minimal"}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
LAST: dict[str, Any] = {"trigger_mode": "always_last"}

CSS = """
.scores {max-height: 24rem; overflow-y: auto !important}
.scores h2 {font-size: var(--text-xl)}
.picture img {width: 100%; height: 100%; object-fit: contain}
.drawings .grid-wrap {padding-top: var(--size-7); min-height: 0; max-height: none}
.drawings .grid-container {grid-template-columns: repeat(4, minmax(0, 1fr)) !important}
.drawings .caption-label {font-size: var(--text-xs)}
.concepts {max-height: 22rem; overflow-y: auto}
.run .bar {height: .75rem; border-radius: .4rem; background: var(--border-color-primary); overflow: hidden}
.run .bar span {display: block; height: 100%; background: var(--primary-600); transition: width .4s}
button[role=tab].selected {color: var(--primary-700) !important}
.dark button[role=tab].selected {color: var(--primary-300) !important}
.wide {overflow-x: auto; margin: 1rem 0}
.report table {border-collapse: collapse; margin: 1rem 0; color: var(--body-text-color)}
.report caption {text-align: left; font-weight: 600; padding-bottom: .4rem}
.report th, .report td {padding: .25rem .6rem; text-align: right; font-weight: 400; white-space: nowrap}
.report thead th {white-space: normal; vertical-align: bottom; font-size: var(--text-sm)}
.report tbody th, .report thead th:first-child {text-align: left}
.report tbody tr {border-top: 1px solid var(--border-color-primary)}
.note {color: var(--body-text-color-subdued); font-size: var(--text-sm)}
.bars {width: 100%; max-width: 44rem}
.bars .track {position: relative; width: 60%; min-width: 6rem; height: 1.4rem; padding: 0}
.bars .track span {position: absolute; left: 0; border-radius: .2rem}
.bars .was {top: .2rem; height: 1rem; opacity: .35} .bars .now {top: .45rem; height: .5rem}
.bars .gone span {background: #c44e52} .bars .kept span {background: #4c72b0}
.heat td {background: color-mix(in srgb, #c44e52 calc(var(--heat) * 75%), transparent)}
.cards {display: grid; grid-template-columns: repeat(auto-fill, minmax(min(18rem, 100%), 1fr)); gap: 1rem}
.card {border: 1px solid var(--border-color-primary); border-radius: .6rem; padding: .8rem 1rem;
  background: var(--block-background-fill); color: var(--body-text-color); overflow-wrap: anywhere}
.card h3 {font-weight: 600; margin: 0 0 .4rem; font-size: var(--text-lg)} .card p {margin: .4rem 0}
.card dl {display: flex; flex-wrap: wrap; gap: .2rem 1.2rem} .card dd {font-size: var(--text-lg); margin: 0}
.card dt {font-size: var(--text-xs); color: var(--body-text-color-subdued)}
.card code {font-size: var(--text-xs)}
.card a {color: var(--link-text-color); text-decoration: underline}
.how {max-width: 46rem; width: 100%; height: auto} .how .box rect {fill: none; stroke: var(--body-text-color)}
.how .context {fill: var(--primary-600)} .how .line path {fill: none; stroke: var(--body-text-color)}
.how text {font-size: 14px; text-anchor: middle; fill: var(--body-text-color)} .how .left text {text-anchor: start}
.how .on-colour {fill: #fff} .how .left text.gone {text-decoration: line-through}
.about h3 {font-weight: 600; margin: 1rem 0 .3rem} .about p {max-width: 46rem}
@media (max-width: 480px) {.drawings .grid-container {grid-template-columns: repeat(3, minmax(0, 1fr)) !important}}
"""


def in_words(function: Callable[P, R]) -> Callable[P, R]:
    """What a handler refuses becomes one sentence on the page, markup in it made harmless."""

    if isgeneratorfunction(function):

        @wraps(function)
        def streamed(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            try:
                yield from function(*args, **kwargs)
            except (ValueError, OSError) as error:
                raise _said(error) from error

        return cast(Callable[P, R], streamed)

    @wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (ValueError, OSError) as error:
            raise _said(error) from error

    return told


def guard(demo: gr.Blocks) -> None:
    """Whatever goes wrong in an event, the visitor reads one sentence, and the log has no word of the visitor's."""
    process = demo.process_api

    @wraps(process)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await process(*args, **kwargs)
        except gr.Error as error:
            if not error.print_exception:
                raise
            raise gr.Error(ODD_REQUEST, print_exception=False) from None
        except Exception as error:
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(OURS)]
            if len(ours) < 2:  # this function alone: Gradio could not read the request
                raise gr.Error(ODD_REQUEST, print_exception=False) from None
            kind, place = type(error).__name__, ours[-1]
            log_error(error, place.name)
            raise gr.Error(OUR_FAULT.format(kind), print_exception=False) from None

    demo.process_api = guarded  # type: ignore[method-assign]


def checked(image: gr.Image) -> gr.Image:
    """An image input that looks at format and size before any pixel is decoded, and says in words what is wrong.

    (Of this instance only: Gradio writes a stub file beside the source of every subclass of a component.)
    """

    def preprocess(payload: Any) -> Image.Image | None:
        if payload is None:
            return None
        if not payload.path:
            raise gr.Error("Send the image as a file.", print_exception=False)
        return in_words(open_image)(payload.path)

    image.preprocess = preprocess  # type: ignore[method-assign]
    return image


def session_of(request: gr.Request) -> str:
    return str(request.session_hash)


def first_line(error: Exception) -> str:
    """What a visitor is told of an error; of the Hub's without how to log in, of a file's without where it is."""
    said = getattr(error, "what", str(error))
    if isinstance(error, OSError) and error.filename is not None:
        said = f"A file could not be read or written here: {error.strerror}."
    return (said.splitlines() or ["something went wrong"])[0][:MAX_SAID]


def _said(error: Exception) -> gr.Error:
    return gr.Error(escape(first_line(error), quote=False), print_exception=False)
