"""Writes docs/api.md, the reference of everything public, from signatures and docstrings.

python docs/make_api.py
"""

from __future__ import annotations

import inspect
import re
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("api.md")
PUBLIC = {  # chapter -> what is documented, by the module that has it
    "Train": (
        "unlearn:unlearn", "result:Result", "result:StopReason", "standing:Step", "recipes:Recipe", "recipes:recipe",
    ),
    "Images": ("data:LabeledImages", "data:BrokenFile", "pixels:to_rgb"),
    "Models": (
        "black_box:BlackBox", "clip:ClipBlackBox", "embedding_box:EmbeddingBlackBox", "remote:SpaceBlackBox",
        "black_box:Ledger",
    ),
    "Adapters": (
        "adapter:ForgetAdapter", "adapted_clip:AdaptedClip", "adapter_config:AdapterConfig", "compose:combine",
        "compose:without",
    ),
    "Edits": (
        "edits.text_edit:TextEdit", "edits.text_edit:Gate", "edits.closed_form:solve", "edits.by_name:forget_by_name",
        "edits.neighbours:Neighbour", "edits.neighbours:describe", "edits.vocabulary:words",
        "edits.vocabulary:features",
    ),
    "Judge": ("evaluate:evaluate", "report:Report", "audit:audit", "audit:Audit", "audit:Thresholds"),
    "Own optimizers": ("optimizers:Optimizer", "objective:Objective", "context:LatentContext"),
    "Errors": (
        "adapter_config:AdapterError", "adapter:WrongBaseError", "black_box:BudgetSpentError",
        "black_box:PromptTooLongError", "hub_errors:HubError",
        "remote:RemoteError", "run_dir:RunError", "processes:ProcessLostError",
        "image_files:BrokenFilesError",
    ),
}  # fmt: skip
SECTIONS = re.compile(r"^(Args|Attributes|Returns|Raises|Example):$")


def render() -> str:
    """The page."""
    lines = ["# Reference", "", "Made from the docstrings by `python docs/make_api.py`; don't edit it.", ""]
    for chapter, names in PUBLIC.items():
        lines += [f"## {chapter}", ""]
        for name in names:
            module, thing = name.split(":")
            lines += _entry(thing, getattr(import_module(f"hf_unlearn.{module}"), thing), f"hf_unlearn.{module}")
    return "\n".join(lines).rstrip() + "\n"


def _entry(name: str, thing: Any, module: str) -> list[str]:
    lines = [f"### `{name}`", "", f"`from {module} import {name}`", ""]
    if not inspect.isclass(thing):
        return [*lines, *_signature(name, thing), *_text(thing)]
    if issubclass(thing, Enum):
        return [*lines, *_text(thing), *(f"- `{item.name}`: {item.value}" for item in thing), ""]
    if not issubclass(thing, Exception) and not getattr(thing, "_is_protocol", False):
        lines += _signature(name, thing)
    lines += _text(thing)
    for key, member in vars(thing).items():
        of_class = isinstance(member, classmethod | staticmethod)
        function = member.__func__ if of_class else member.fget if isinstance(member, property) else member
        if key.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        lines += [f"#### `{name}.{key}`", ""]
        if not isinstance(member, property):
            lines += _signature(key, getattr(thing, key) if of_class else function)
        lines += _text(function)
    return lines


def _signature(name: str, thing: Any) -> list[str]:
    parameters = [p for p in inspect.signature(thing).parameters.values() if p.name != "self"]
    back = inspect.signature(thing).return_annotation
    arrow = "" if back is inspect.Signature.empty or inspect.isclass(thing) else f" -> {str(back).strip(chr(39))}"
    star = next((p for p in parameters if p.kind is p.KEYWORD_ONLY), None)
    shown = [word for p in parameters for word in (["*"] if p is star else []) + [_parameter(p)]]
    whole = f"{name}({', '.join(shown)}){arrow}"
    if len(whole) > 100:
        whole = "\n".join([f"{name}(", *(f"    {word}," for word in shown), f"){arrow}"])
    return ["```python", whole, "```", ""]


def _parameter(parameter: inspect.Parameter) -> str:
    annotation, default = str(parameter.annotation).strip("'"), parameter.default
    if default is inspect.Parameter.empty:
        return f"{parameter.name}: {annotation}"
    fresh = type(default).__name__ == "_HAS_DEFAULT_FACTORY_CLASS"  # a dataclass field that starts empty
    return (
        f"{parameter.name}: {annotation} = {'…' if fresh else default if isinstance(default, type) else repr(default)}"
    )


def _text(thing: Any) -> list[str]:
    """A docstring as Markdown: sections become lists."""
    lines, within = [], False
    for line in inspect.cleandoc(thing.__doc__ or "").splitlines():
        if heading := SECTIONS.match(line):
            lines += [f"**{heading[1]}**", ""]
            within = True
        elif within and line.startswith("    ") and not line.startswith("     "):
            name, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{name}`: {rest}" if colon and "`" not in name else f"- {line.strip()}")
        elif line.startswith("Raises: "):
            lines.append(f"**Raises** {line.removeprefix('Raises: ')}")
        else:
            lines.append(f"  {line.strip()}" if within and line.strip() else line)
    return [*lines, ""]


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8", newline="\n")
