"""No token in anything that is printed, logged or written, however the flow goes and however talkative it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_unlearn import evaluate, unlearn
from tests.support.hub_client import environment
from tests.support.hub_server import RESET, Hub
from tests.support.images import coloured

OWNER, REFUSED = "hf_owner", "hf_nobodysSecretThatTheHubRefuses"
LOUD = {"HF_HUB_VERBOSITY": "debug", "HF_DEBUG": "1", "TRANSFORMERS_VERBOSITY": "debug", "HTTPX_LOG_LEVEL": "trace"}
COMMANDS = """
import json, logging, os, sys
logging.basicConfig(level=logging.DEBUG)
import huggingface_hub
from hf_unlearn.cli.main import main
if secret := os.environ.pop("SECRET"):
    huggingface_hub.login(secret)
for token, *words in json.loads(sys.argv[1]):
    os.environ.update(HF_TOKEN=token)
    sys.argv = ["hf-unlearn", *words]
    try:
        main()
    except SystemExit as stop:
        print("exit code", stop.code)
"""
SAYS_ALL = """
import logging, os, traceback
logging.basicConfig(level=logging.DEBUG)
from hf_unlearn import ForgetAdapter, SpaceBlackBox
token = os.environ.pop("SECRET")
adapter = ForgetAdapter.from_pretrained(os.environ["ADAPTER"])
for attempt in (
    lambda: adapter.push_to_hub("user/api", token=token),
    lambda: print(ForgetAdapter.from_pretrained("user/api", token=token)),
    lambda: ForgetAdapter.from_pretrained("user/none", token=token),
    lambda: SpaceBlackBox("http://127.0.0.1:9", token=token, tries=1),
):
    try:
        print(repr(attempt()))
    except Exception:
        traceback.print_exc()
"""


@pytest.fixture(scope="module")
def adapter(clip, tmp_path_factory) -> Path:
    made = unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, progress=False).adapter
    folder = tmp_path_factory.mktemp("secrets") / "adapter"
    made.with_report(evaluate(clip, coloured(4, seed=1), made).content).save_pretrained(folder)
    return folder


@pytest.fixture
def flow(tmp_path, adapter):
    """Runs Python in the home of one user; everything that was printed so far."""
    printed: list[str] = []
    with Hub() as hub:
        settings = {**os.environ, **environment(hub.endpoint, tmp_path / "home"), **LOUD, "ADAPTER": str(adapter)}
        settings |= {"HF_HUB_DISABLE_PROGRESS_BARS": "0"}

        def run(code: str, *commands: list[str], secret: str = "") -> str:
            words = [sys.executable, "-c", code, json.dumps(commands)]
            own = {**settings, "SECRET": secret}
            done = subprocess.run(words, env=own, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            printed.extend([done.stdout, done.stderr])
            return done.stdout

        yield hub, run, printed


def test_a_login_a_push_and_a_pull_print_and_write_no_token(flow, adapter, tmp_path):
    hub, run, printed = flow
    pushed = ["", "push", str(adapter), "user/new", "--private"]
    out = run(COMMANDS, pushed, ["", "pull", "user/new", "pulled"], ["", "info", "user/new", "--json"], secret=OWNER)
    assert out.count("exit code 0") == 3
    assert any(headers.get("authorization", headers.get("Authorization")) for _, _, headers in hub.requests)
    assert "DEBUG" in "".join(printed)
    assert OWNER not in "".join(printed)
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and OWNER.encode() in path.read_bytes()]
    assert {path.name for path in kept} <= {"token", "stored_tokens"}, "only where hf auth login keeps it"
    assert not [name for name, content in hub.repos["user/new"].tree().items() if OWNER.encode() in content]


def test_refusals_and_faults_print_no_token(flow, adapter):
    hub, run, printed = flow
    hub.fail("POST", "/commit/", 500, times=99)
    hub.fail("GET", "user/broken", RESET, times=99)
    push = ["push", str(adapter), "user/new"]
    out = run(
        COMMANDS, [REFUSED, *push], [OWNER, *push], [REFUSED, "pull", "user/none"], [OWNER, "pull", "user/broken"]
    )
    assert out.count("exit code 2") == 4
    hub.faults.clear()
    run(SAYS_ALL, secret=OWNER)
    run(SAYS_ALL, secret=REFUSED)
    assert "Traceback" in "".join(printed)
    assert not [secret for secret in (OWNER, REFUSED) if secret in "".join(printed)]
