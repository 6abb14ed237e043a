"""Every block of Python and shell in the README and the documentation, run."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.support.guides import CHECKS
from tests.support.hub_client import Client, command, environment
from tests.support.hub_server import Hub
from tests.support.pages import FENCE, ROOT, blocks, execute, lines, run_page, run_shell

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = {"exports"}  # run by a test of their own


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


@pytest.mark.parametrize(
    "page", [page for page in PAGES[1:] if blocks(page) and page.stem not in ELSEWHERE], ids=lambda page: page.stem
)
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
