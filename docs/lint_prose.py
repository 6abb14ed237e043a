"""Checks the English of Markdown files and docstrings: `python docs/lint_prose.py README.md docs hf_unlearn`.

The rules are in `docs/prose.toml`; general ones come from proselint. Each finding is a line `file:line: message`; the
exit code is 1 if there is one.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt
from proselint.checks import __register__
from proselint.config import DEFAULT
from proselint.registry import CheckRegistry
from proselint.tools import LintFile

RULES = tomllib.loads(Path(__file__).with_name("prose.toml").read_text(encoding="utf-8"))
INSTEAD = [(re.compile(rf"(?<![\w-])(?:{key})(?![\w-])", re.IGNORECASE), say) for key, say in RULES["instead"].items()]
CODE = "CODE"  # in place of inline code: one word
SENTENCE = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<!al\.)(?:(?<=[.!?:])|(?<=[.!?:][)\"']))\s+")
SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Example):$")
PARSER = MarkdownIt("commonmark").enable("table")


def markdown(text: str) -> Iterator[tuple[int, str, bool]]:
    """Every paragraph, heading and table cell, code replaced by one word; whether it consists of sentences."""
    front = re.match(r"---\n.*?\n---\n", text, re.DOTALL)
    text = "\n" * front[0].count("\n") + text[front.end() :] if front else text
    cell = False
    line = 0
    for token in PARSER.parse(text):
        cell = cell if token.type == "inline" else token.type in ("th_open", "td_open", "heading_open")
        line = token.map[0] + 1 if token.map else line
        if token.type == "inline":
            yield line, "".join(map(_plain, token.children or ())), not cell


def _plain(token) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return "\n"
    if token.type == "code_inline":
        return CODE
    return token.content if token.type == "text" else ""


def docstrings(source: str) -> Iterator[tuple[int, str, bool]]:
    """Paragraphs of all docstrings; examples are left out, each entry of `Args:` is a paragraph."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            value = first.value.value if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) else None
            if isinstance(first, ast.Expr) and isinstance(value, str):
                yield from _paragraphs(value, first.lineno)


def _paragraphs(text: str, start: int) -> Iterator[tuple[int, str, bool]]:
    first, *rest = text.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    lines, begin, section = [], start, False
    for number, line in enumerate([first, *(line[margin:] for line in rest)], start):
        deep = len(line) - len(line.lstrip())
        heading = SECTION.match(line)
        new = not line.strip() or heading or line.lstrip().startswith(("- ", "* ")) or (section and deep == 4)
        if new and lines:
            yield begin, _without_code("\n".join(lines)), True
            lines = []
        section = bool(heading) or (section and (deep > 0 or not line.strip()))
        if heading or (deep >= 4 and not section) or not line.strip():
            continue
        begin = begin if lines else number
        lines.append(re.sub(r"^    [\w, *.]+: ", "", line) if section and deep == 4 else line.strip())
    if lines:
        yield begin, _without_code("\n".join(lines)), True


def _without_code(text: str) -> str:
    return re.sub(r"`[^`]*`", lambda code: CODE + "\n" * code[0].count("\n"), text)


def check(path: Path) -> list[tuple[int, str]]:
    """What is wrong in a file, with its lines."""
    text = path.read_text(encoding="utf-8")
    blank = [""] * (text.count("\n") + 2)  # the same lines, prose alone
    found = []
    for line, piece, sentences in docstrings(text) if path.suffix == ".py" else markdown(text):
        for offset, row in enumerate(piece.split("\n")):
            blank[line - 1 + offset] += row.replace(CODE, "#") + (" " if sentences else " | ")
        found += [(line + piece[:at].count("\n"), message) for at, message in _findings(piece, sentences)]
    general = LintFile(str(path), "\n".join(blank)).lint(CONFIG)
    found += [(each.pos[0], f"{each.check_result.message} ({each.check_result.check_path})") for each in general]
    return sorted(found)


def _findings(piece: str, sentences: bool) -> Iterator[tuple[int, str]]:
    """Where in a paragraph something is wrong, and what: words, then long sentences."""
    seen: set[int] = set()
    for word, say in INSTEAD:
        for match in word.finditer(piece):
            where = set(range(*match.span()))
            if not seen & where:
                yield match.start(), f'"{" ".join(match[0].split())}": write {say}'
            seen |= where
    begin = 0
    for end in [*(match.end() for match in SENTENCE.finditer(piece)), len(piece)] if sentences else ():
        count = sum(any(map(str.isalnum, word)) for word in piece[begin:end].split())
        if count > RULES["longest"]:
            yield begin, f"a sentence of {count} words, at most {RULES['longest']}"
        begin = end


CheckRegistry().register_many(__register__)
CONFIG = {**DEFAULT, "checks": {**DEFAULT["checks"], **dict.fromkeys(RULES["proselint"]["off"], False)}}


def main(paths: list[str]) -> int:
    files = []
    for path in map(Path, paths):
        suffix = "py" if (path / "__init__.py").exists() else "md"  # of a package the docstrings alone
        files += sorted(path.rglob(f"*.{suffix}")) if path.is_dir() else [path]
    lines = [f"{file}:{line}: {message}" for file in files for line, message in check(file)]
    print("\n".join(lines) or f"{len(files)} files, nothing found")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
