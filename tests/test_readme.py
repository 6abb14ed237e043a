"""Every block of Python and shell in the README and the documentation, run."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.forked import Forked
from tests.support.guides import CHECKS
from tests.support.hub_client import Client, command, environment
from tests.support.hub_server import Hub

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
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


@pytest.fixture(scope="module")
def things(tmp_path_factory) -> Path:
    """The images that the README says how to make, and the adapter of its first command."""
    folder = tmp_path_factory.mktemp("stranger")
    words = re.search(r"`(python -m hf_unlearn\.demo [^`]*)`", README.read_text())
    assert words
    run_shell(words[1], folder)
    for kind in (folder / "things").glob("*/*"):
        for image in sorted(kind.iterdir())[4:]:  # four are enough here
            image.unlink()
    run_shell(
        next(line for block in blocks(README) for line in lines(block.code) if line.startswith("hf-unlearn forget")),
        folder,
    )
    return folder


@pytest.fixture
def folder(things, tmp_path, monkeypatch) -> Path:
    """A copy of them; work goes on there."""
    shutil.copytree(things, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path / "work"


def test_the_readme_runs_and_forgets(folder):
    scope, printed = run_page(README, folder)
    for said in ("zero-shot", "label-mask", "edit", "'word'"):
        assert said in printed[0]
    assert float(scope["probs"].sum()) == pytest.approx(1.0, abs=1e-4)
    assert scope["queries"].shape == (1, 256)
    assert json.loads((folder / "adapters" / "two-less" / "config.json").read_text())["forget"] == [
        "rooster", "telephone",
    ]  # fmt: skip


@pytest.mark.parametrize("page", [page for page in PAGES[1:] if blocks(page)], ids=lambda page: page.stem)
def test_the_code_of_the_documentation_runs(page, folder):
    scope, _ = run_page(page, folder)
    if check := CHECKS.get(page.stem):
        check(scope, folder)


def test_what_needs_the_hub_runs_against_a_hub(folder, tmp_path):
    said = {}
    with Hub() as hub:
        client = Client({**environment(hub.endpoint, tmp_path), "HF_TOKEN": "hf_owner"})
        for block in (block for page in PAGES for block in blocks(page) if block.mark == "hub"):
            if block.language == "python":
                assert "rooster" in client(execute, block.code)
            for words in map(shlex.split, lines(block.code)) if block.language != "python" else ():
                code, said[words[1]], errors = client(command, *words[1:], token="hf_owner")
                assert code == 0, errors
    assert "user/no-rooster" in said["list"]
    assert "rooster" in said["info"]
    assert "rooster" in said["pull"]
    assert (folder / "adapters" / "fetched" / "config.json").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_that_are_not_run_say_why(page):
    for mark, language, _ in FENCE.findall(page.read_text(encoding="utf-8")):
        assert language, "a block without a language"
        assert not mark or mark == "hub" or re.match(r"not run: .{10}", mark), mark
        assert language not in {"console", "shell", "py"}, "python, bash and sh are run"


def test_the_front_matter_names_the_gradio_that_is_pinned():
    front = README.read_text().split("---")[1]
    version = re.search(r"sdk_version: (\S+)", front)
    assert version
    assert f"gradio=={version[1]}" in (ROOT / "requirements.txt").read_text()
