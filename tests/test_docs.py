"""The reference is what the docstrings say, and the pages link to what is there."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_current(maker):
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == maker.render(), "run python docs/make_api.py"


def test_every_public_name_is_in_the_reference(maker):
    import hf_unlearn

    documented = {entry.split(":")[1] for names in maker.PUBLIC.values() for entry in names}
    assert set(hf_unlearn.__all__) <= documented


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_files_that_contributing_names_are_there():
    named = re.findall(
        r"`((?:hf_unlearn|tests|docs|benchmarks|space)/[\w./]+\.\w+)`", (ROOT / "CONTRIBUTING.md").read_text()
    )
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / name).exists()]
