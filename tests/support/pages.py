"""Runs the blocks of Python and shell of a Markdown page."""

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

from tests.support.forked import Forked

ROOT = Path(__file__).parents[2]
LANGUAGES = {"python", "bash", "sh"}
FENCE = re.compile(r"(?:^<!-- ((?:(?!-->).)*) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
QUERIES = re.compile(r"(max_queries=|--max-queries |relearn_queries=|--relearn-queries )[\d_]+")
PROMISED = {  # what a command prints
    "forget": "adapter saved in", "combine": "adapter saved in", "without": "adapter saved in",
    "evaluate": "label-mask", "export": "checkpoint saved", "audit": "verdict",
}  # fmt: skip


class Block(NamedTuple):
    mark: str  # of the HTML comment above it
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are run, with few queries."""
    found = [Block(*(each or "" for each in fence)) for fence in FENCE.findall(page.read_text(encoding="utf-8"))]
    runnable = [block for block in found if block.language in LANGUAGES and not block.mark.startswith("not run: ")]
    return [block._replace(code=QUERIES.sub(r"\g<1>20", block.code)) for block in runnable]


def lines(code: str) -> list[str]:
    """The commands of a block of shell."""
    joined = code.replace("\\\n", " ").splitlines()
    return [line for line in joined if line.strip() and not line.startswith("#")]


def execute(code: str) -> str:
    """Runs Python where it is called; returns what it prints."""
    with redirect_stdout(io.StringIO()) as out:
        exec(code, {"__name__": "__main__"})
    return out.getvalue()


def run_shell(line: str, folder: Path) -> str:
    """Runs a line with this Python and this `hf-unlearn`; returns what it prints."""
    words = shlex.split(line, comments=True)
    if words[0] == "hf-unlearn":
        process = Forked(words[1:], folder / ".said", folder=folder)
        assert process.wait() == 0, process.said()
        return process.said()[0]
    python = shlex.quote(sys.executable)
    line = line.replace("torchrun", f"{python} -m torch.distributed.run --standalone")
    line = re.sub(r"^python ", f"{python} ", line)
    environs = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", line], cwd=folder, env=environs, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_page(page: Path, folder: Path) -> tuple[dict, list[str]]:
    """Runs a page's blocks in their order; returns the names its Python defines and what each block printed."""
    scope: dict = {"__name__": "__main__"}
    printed = []
    with redirect_stdout(io.StringIO()) as out:
        for block in blocks(page):
            if block.mark == "hub":
                continue
            if block.language == "python":
                exec(block.code, scope)
            for line in lines(block.code) if block.language != "python" else ():
                said = run_shell(line, folder)
                print(said)
                words = shlex.split(line)
                assert PROMISED.get(words[1] if words[0] == "hf-unlearn" else "", "") in said
            printed.append(out.getvalue())
            out.truncate(out.seek(0))
    return scope, printed
