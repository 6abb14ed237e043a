"""The wheel: built, installed where the sources are not, and used as the README says."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("hf_unlearn", "pyproject.toml", "README.md", "LICENSE")


def run(*words: str | Path, cwd: Path) -> str:
    settings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that the repository stays clean."""
    from shutil import copy, copytree, ignore_patterns

    copied = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            copytree(ROOT / name, copied / name, ignore=ignore_patterns("__pycache__"))
        else:
            copy(ROOT / name, copied / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copied / "dist", cwd=copied)
    return next((copied / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def fresh(wheel, tmp_path_factory) -> Path:
    """A new environment's `bin` with the wheel in it; what it depends on comes from this environment, not the net."""
    place = tmp_path_factory.mktemp("fresh")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=place)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=place).strip())
    lent = [path for path in sys.path if path.endswith("site-packages") and Path(path) != ROOT]
    (site / "lent.pth").write_text("\n".join(lent) + "\n")  # plain lines: an editable install there stays unseen
    return place / "bin"


def test_the_wheel_holds_the_package_its_types_and_its_demo_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {"hf_unlearn/py.typed", "hf_unlearn/demo/emoji.zip", "hf_unlearn/demo/clip/config.json"} <= set(names)
    assert {name.split("/")[0] for name in names} == {"hf_unlearn", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "hf_unlearn").rglob("*.py")}
    assert sources == {name for name in names if name.endswith(".py")}


def test_the_ten_lines_of_the_readme_run_from_the_wheel(fresh, tmp_path):
    where = run(fresh / "python", "-c", "import hf_unlearn; print(hf_unlearn.__file__)", cwd=tmp_path)
    assert where.startswith(str(fresh.parent))
    readme = (ROOT / "README.md").read_text()
    words = re.search(r"`python (-m hf_unlearn\.demo [^`]*)`", readme)
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert words
    assert code
    run(fresh / "python", *words[1].split(), cwd=tmp_path)
    assert "label-mask" in run(fresh / "python", "-c", code[1], cwd=tmp_path)
    assert "forgets 2" in run(fresh / "hf-unlearn", "info", "adapters/two-less", cwd=tmp_path)
