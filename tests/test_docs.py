"""The documentation builds as a site, names everything public, has good links, and keeps to its rules of English."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OUTER = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]


def documented() -> set[str]:
    pages = (DOCS / "reference").glob("*.md")
    return {name for page in pages for name in re.findall(r"^::: hf_unlearn\.(\w+)$", page.read_text(), re.MULTILINE)}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    settings = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_public_name_is_in_the_reference():
    import hf_unlearn

    assert set(hf_unlearn.__all__) <= documented()


def test_the_site_builds_and_renders_every_documented_name(site):
    pages = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").rglob("*.html"))
    assert not [name for name in documented() if f'id="hf_unlearn.{name}"' not in pages]
    assert "Raises:" in pages


def test_the_site_fetches_nothing_from_elsewhere(site):
    html = "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    assert not re.findall(
        r"<(?:script|img|iframe)[^>]*src=\"https?:[^>]*>|<link[^>]*stylesheet[^>]*https?:[^>]*>", html
    )


def test_the_site_shows_the_help_of_every_command(site):
    command = [sys.executable, "-m", "hf_unlearn", "--help"]
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    said = subprocess.run(command, env=settings, capture_output=True, text=True, encoding="utf-8").stdout
    commands = set(re.findall(r"^│ ([a-z]+) ", said, re.MULTILINE))
    assert len(commands) > 8
    page = (site / "cli" / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r"Usage: hf-unlearn (\w+)", page)) == commands


@pytest.mark.parametrize("page", OUTER, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_every_row_of_what_it_works_with_names_its_test():
    section = OUTER[0].read_text(encoding="utf-8").partition("## What it works with\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith(("| Base", "| Eng"))]
    assert len(rows) > 10
    assert not [row for row in rows if not re.search(r"\]\((tests|benchmarks)/[^)]+\) \|$", row)]


def test_links_of_the_documentation_are_good_in_the_repository_too():
    for page in DOCS.rglob("*.md"):
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
        assert not [link for link in links if not (page.parent / link).exists()], page


def test_the_files_that_contributing_names_are_there():
    named = re.findall(
        r"`((?:hf_unlearn|tests|docs|benchmarks|space)/[\w./]+\.\w+)`", (ROOT / "CONTRIBUTING.md").read_text()
    )
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_english_keeps_to_its_rules(capsys):
    spec = importlib.util.spec_from_file_location("lint_prose", DOCS / "lint_prose.py")
    assert spec
    assert spec.loader
    lint = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lint)
    assert lint.main([str(path) for path in (*OUTER[:3], DOCS)]) == 0, capsys.readouterr().out


def test_the_rules_find_words_and_long_sentences_at_their_lines(tmp_path):
    long = " ".join("abcdefghijklmnopqrstuvwxyz")
    rows = ["It goes on.", "", "| `told` | gone |", "|---|---|", "", "```", "told", "```", "", f"Short. {long}."]
    (tmp_path / "page.md").write_text("\n".join(rows))
    rows = ["def f(x):", '    """Short.', "", "    Args:", "        x: told", "            `told`", '    """']
    (tmp_path / "code.py").write_text("\n".join(rows))
    command = [sys.executable, str(DOCS / "lint_prose.py"), "page.md", "code.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    found = [line.split(": ")[:2] for line in done.stdout.splitlines()]
    assert found == [
        ["page.md:1", '"goes on"'], ["page.md:3", '"gone"'], ["page.md:10", "a sentence of 26 words, at most 25"],
        ["code.py:5", '"told"'],
    ]  # fmt: skip


def test_the_citation_names_this_version_and_the_paper():
    import hf_unlearn

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert Version(citation["version"]) == Version(hf_unlearn.__version__)
    assert citation["references"][0]["authors"][0]["family-names"] == "Kuwana"


def test_the_forms_for_issues_are_whole():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert path.name == "config.yml" or {"name", "description", "body"} <= set(form), path
