"""What the README tells a stranger to run, run."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forked import Forked
from tests.support.hub_client import environment
from tests.support.hub_server import Hub

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def run(command: list[str], folder: Path, settings: dict[str, str] | None = None) -> str:
    environs = {**os.environ, **(settings or {}), "PYTHONPATH": str(README.parent)}
    done = subprocess.run(command, cwd=folder, env=environs, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hf_unlearn(line: str, folder: Path) -> str:
    """What a line of the README that begins with `hf-unlearn` prints."""
    name, *words = shlex.split(line)
    assert name == "hf-unlearn"
    process = Forked(words, folder / ".said", folder=folder)
    assert process.wait() == 0, process.said()
    return process.said()[0]


@pytest.fixture(scope="module")
def things(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    line = next(line for line in README.read_text().splitlines() if "python -m hf_unlearn.demo" in line)
    words = re.search(r"`python (-m hf_unlearn\.demo [^`]*)`", line)
    assert words
    run([sys.executable, *words[1].split()], folder)
    return folder


def test_the_python_of_the_readme_runs_and_forgets(things):
    code, *_ = blocks("python")  # the third one needs a Hub: below; the fourth one a Space: test_remote.py
    printed = run([sys.executable, "-c", code + "\nprint('PROBS', float(probs.sum()), queries.shape)"], things)
    for said in ("zero-shot", "label-mask", "edit", "'word'"):
        assert said in printed
    assert float(printed.split("PROBS")[1].split()[0]) == pytest.approx(1.0, abs=1e-4)
    assert "torch.Size([1, 256])" in printed


def test_the_python_that_needs_scores_alone_runs(things):
    run([sys.executable, "-c", blocks("python")[1].replace("max_queries=500", "max_queries=40")], things)
    config = json.loads((things / "adapters" / "by-scores" / "config.json").read_text())
    assert (config["kind"], len(config["forget"]), config["ledger"]["queries"]) == ("context", 4, 40)


def test_the_commands_of_the_readme_run(things):
    lines, _, _ = blocks("bash")
    for line in lines.strip().splitlines():
        command = line.split()[1]
        expected = {"export": "checkpoint saved", "evaluate": "label-mask", "forget": "adapter saved in"}[command]
        assert expected in hf_unlearn(line, things)


@pytest.fixture(scope="module")
def rooster(things) -> None:
    """The adapter that later blocks go on from, made as the first block says."""
    if not (things / "adapters" / "no-rooster").exists():
        hf_unlearn(blocks("bash")[0].splitlines()[0], things)


def test_adapters_grow_from_adapters_as_the_readme_says(things, rooster):
    (lines,) = blocks("sh")
    for line in lines.strip().splitlines():
        assert "adapter saved in" in hf_unlearn(line, things)
    forgotten = [
        json.loads((things / "adapters" / name / "config.json").read_text())["forget"]
        for name in ("neither", "rooster-is-back")
    ]
    assert forgotten == [["rooster", "telephone"], ["telephone"]]


def test_what_the_readme_says_about_the_hub_runs(things, rooster, tmp_path):
    _, lines, _ = blocks("bash")
    with Hub() as hub:
        settings = environment(hub.endpoint, tmp_path) | {"HF_TOKEN": "hf_owner"}
        told = {
            words[1]: run([sys.executable, "-m", "hf_unlearn", *words[1:]], things, settings)
            for words in map(shlex.split, lines.strip().splitlines())
        }
        printed = run([sys.executable, "-c", blocks("python")[2]], tmp_path, settings)
    assert set(told) == {"push", "list", "info", "pull"}
    assert "user/no-rooster" in told["list"]
    assert "rooster" in told["info"]
    assert "rooster" in told["pull"]
    assert printed.startswith("['rooster'] embedded")
    assert (things / "adapters" / "fetched" / "config.json").exists()


def test_the_launch_of_several_processes_runs(things):
    _, _, line = blocks("bash")
    launcher = f"{shlex.quote(sys.executable)} -m torch.distributed.run --standalone"
    assert "adapter saved in adapters/by-two" in run(["sh", "-c", line.replace("torchrun", launcher)], things)


def test_the_front_matter_names_the_gradio_that_is_pinned():
    front = README.read_text().split("---")[1]
    version = re.search(r"sdk_version: (\S+)", front)
    assert version
    assert f"gradio=={version[1]}" in (README.parent / "requirements.txt").read_text()
