"""What all tabs share: how errors are said, queues, looks."""

from __future__ import annotations

import os
import traceback
from abc import ABCMeta
from collections.abc import Callable, Iterator
from functools import wraps
from html import escape
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import gradio as gr
from gradio import processing_utils
from gradio.block_function import BlockFunction
from gradio.component_meta import ComponentMeta
from gradio.components.base import Component
from gradio.data_classes import GradioModel
from gradio.exceptions import InvalidPathError
from gradio.processing_utils import move_files_to_cache
from PIL import Image

from hf_unlearn.errors import HfUnlearnError
from space.error_log import log_error
from space.error_words import first_line
from space.inputs.limits import open_image
from space.inputs.web_files import fetch

ODD_REQUEST = "This request lacks a value, or one is of a wrong kind; 'Use via API' on the page shows what is taken."
NO_FILE = "This file can't be read here; upload it, or give an address that begins with http or https."
OUR_FAULT = "Something went wrong here ({}), which is not your fault. Try again, or with other input."
FOREVER = 2**32  # seconds; a file with this time is not old for a century
OURS = tuple(str(Path(__file__).resolve().parents[2] / name) for name in ("space", "hf_unlearn"))

P = ParamSpec("P")
R = TypeVar("R")

HEAVY: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "model"}
INSTANT: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "instant"}
RUNS_AT_ONCE = 2
RUN: dict[str, Any] = {"concurrency_limit": RUNS_AT_ONCE, "concurrency_id": "run"}
LIGHT: dict[str, Any] = {"concurrency_limit": 8, "concurrency_id": "page", "show_progress": "minimal"}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
LAST: dict[str, Any] = {"trigger_mode": "always_last"}

HERE = Path(__file__).parent
ACTS = (HERE / "acts.js").read_text(encoding="utf-8")  # buttons in HTML that the server wrote
BARE: dict[str, Any] = {"padding": False, "apply_default_css": False}
LIVE = '<div role="status" aria-live="polite">${value}</div>'  # a screen reader says what changes in it
SCRIPTS = ("answers.js", "first_screen.js")  # run before the page is painted
HEAD = "".join(f"<script>{(HERE / name).read_text(encoding='utf-8')}</script>" for name in SCRIPTS)
CSS = (HERE / "style.css").read_text(encoding="utf-8")


def in_words(function: Callable[P, R]) -> Callable[P, R]:
    """What a handler refuses becomes one sentence on the page, in which nothing is markup; `guard` sees to bugs."""
    if isgeneratorfunction(function):

        @wraps(function)
        def streamed(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            try:
                yield from function(*args, **kwargs)
            except HfUnlearnError as error:
                raise _said(error) from error

        return cast(Callable[P, R], streamed)

    @wraps(function)
    def explained(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except HfUnlearnError as error:
            raise _said(error) from error

    return explained


def guard(demo: gr.Blocks) -> None:
    """Whatever goes wrong in an event, the visitor reads one sentence; the log repeats no word of the visitor.

    Files at strangers' addresses are fetched within bounds: Gradio has none for their size.
    """
    processing_utils.async_ssrf_protected_download = fetch
    process = demo.process_api

    @wraps(process)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        if "block_fn" in kwargs:
            kwargs["inputs"] = _with_defaults(kwargs["block_fn"], _mark_files(kwargs["block_fn"], kwargs["inputs"]))
        try:
            return await process(*args, **kwargs)
        except gr.Error as error:
            if not error.print_exception:
                raise
            raise gr.Error(ODD_REQUEST, print_exception=False) from None
        except HfUnlearnError as error:  # of a file's address, which Gradio fetches before a handler sees it
            raise _said(error) from None
        except InvalidPathError:
            raise gr.Error(NO_FILE, print_exception=False) from None
        except Exception as error:
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(OURS)]
            if len(ours) < 2:  # this function alone: Gradio could not read the request
                raise gr.Error(ODD_REQUEST, print_exception=False) from None
            kind, place = type(error).__name__, ours[-1]
            log_error(error, place.name)
            raise gr.Error(OUR_FAULT.format(kind), print_exception=False) from None

    demo.process_api = guarded  # type: ignore[method-assign]


def _mark_files(endpoint: BlockFunction, inputs: list[Any]) -> list[Any]:
    """Every image as a marked file: without the mark Gradio would read any path of this machine, and fetch nothing."""
    images = [isinstance(component, gr.Image) for component in endpoint.inputs]
    marked = [_mark(value) if image else value for image, value in zip(images, inputs, strict=False)]
    return [*marked, *inputs[len(images) :]]


def _mark(image: Any) -> Any:
    if isinstance(image, str):
        image = {"path": image}
    if not isinstance(image, dict):
        return image
    path = image.get("path") or image.get("url")
    return {**image, "path": path, "meta": {"_type": "gradio.FileData"}} if path else None


def _with_defaults(endpoint: BlockFunction, inputs: list[Any]) -> list[Any]:
    """What a client sent to a documented endpoint, with defaults in place of last values that it left out."""
    if not inputs or endpoint.api_visibility != "public":
        return inputs
    return [*inputs, *(getattr(component, "value", None) for component in endpoint.inputs[len(inputs) :])]


def _image_class(name: str, preprocess: Callable[[Any, Any], Any]) -> type[gr.Image]:
    """A kind of image input with another `preprocess`.

    Gradio makes components again from their class as soon as one of their properties changes, so an instance's method
    would be lost. Its metaclass writes a stub file beside the source of every subclass; this way it does not.
    """
    parts = {"preprocess": preprocess, "is_template": True, "__module__": __name__}
    return cast(type[gr.Image], ABCMeta.__new__(ComponentMeta, name, (gr.Image,), parts))


def _open_checked(_: gr.Image, payload: Any) -> Image.Image | None:
    if payload is None:
        return None
    if not payload.path:
        raise gr.Error("Send the image as a file.", print_exception=False)
    return in_words(open_image)(payload.path)


# looks at format and size before any pixel is decoded, and says in words what is wrong
CheckedImage = _image_class("CheckedImage", _open_checked)
# its handler gets the path of the file as it was sent, unread, or None
FileImage = _image_class("FileImage", lambda _, payload: None if payload is None else str(payload.path or ""))


def set_first_value(component: Component, value: Any) -> None:
    """Sets what a component shows when the page is first painted, after it was drawn; a file of it is never swept."""
    prepared = component.postprocess(value)
    prepared = prepared.model_dump() if isinstance(prepared, GradioModel) else prepared
    component.value = move_files_to_cache(prepared, component, postprocess=True, keep_in_cache=True)
    if isinstance(component.value, dict) and (path := component.value.get("path")):
        component.keep_in_cache.add(path)
        os.utime(path, (FOREVER, FOREVER))


def set_first_picture(component: gr.Image, key: str) -> None:
    """Sets the picture that is shown when the page is first painted, one of those that the server has."""
    component.value = {"path": f"{key}.png", "url": f"/pictures/{key}.png", "meta": {"_type": "gradio.FileData"}}


def session_of(request: gr.Request) -> str:
    """The session of a request, as Gradio names it."""
    return str(request.session_hash)


def _said(error: HfUnlearnError) -> gr.Error:
    return gr.Error(escape(first_line(error), quote=False), print_exception=False)
