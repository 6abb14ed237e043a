"""The workflow that runs these tests elsewhere."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
STEPS = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]


def test_it_may_read_only_stops_what_is_outdated_and_ends():
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is True
    assert all(0 < job["timeout-minutes"] <= 60 for job in WORKFLOW["jobs"].values())


@pytest.mark.parametrize("action", [step["uses"] for step in STEPS if "uses" in step])
def test_actions_are_pinned_to_a_full_version(action):
    assert re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action)


def test_linux_runs_what_everybody_runs_and_the_others_need_no_make():
    linux, others = (WORKFLOW["jobs"][name] for name in ("linux", "others"))
    assert ".ci/run" in [step.get("run") for step in linux["steps"]]
    commands = " ".join(step.get("run", "") for step in others["steps"])
    assert not re.search(r"\bmake\b|\.venv|apt-get", commands)
    assert {name.split("-")[0] for name in others["strategy"]["matrix"]["os"]} == {"windows", "macos"}
    assert "hf-unlearn demo --max-queries" in commands


def test_the_tests_it_names_are_there_and_need_no_unix():
    named = re.findall(r"tests/[\w/]+\.py", " ".join(step.get("run", "") for step in STEPS))
    assert "tests/test_systems.py" in named
    for name in named:
        source = (ROOT / name).read_text(encoding="utf-8")
        only_unix = r"^(import|from) (tests\.support\.forked|resource|fcntl|pwd)\b"
        assert not re.search(only_unix, source, re.MULTILINE), name
