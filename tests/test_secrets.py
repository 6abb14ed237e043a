"""No token in anything that is printed, logged or written, however the flow goes and however talkative it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import coloured
from hub_client import environment
from hub_server import RESET, Hub

from hf_unlearn import evaluate, unlearn

OWNER, REFUSED = "hf_owner", "hf_nobodysSecretThatTheHubRefuses"
LOUD = {"HF_HUB_VERBOSITY": "debug", "HF_DEBUG": "1", "TRANSFORMERS_VERBOSITY": "debug", "HTTPX_LOG_LEVEL": "trace"}
LOGIN = "import huggingface_hub, os; huggingface_hub.login(os.environ.pop('SECRET'))"
LOUDLY = "import logging; logging.basicConfig(level=logging.DEBUG); from hf_unlearn.cli import main; main()"
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

        def run(code: str, *arguments: str, token: str | None = None, secret: str = "") -> int:
            own = {**settings, "SECRET": secret}
            own.pop("HF_TOKEN", None)
            own |= {"HF_TOKEN": token} if token else {}
            words = [sys.executable, "-c", code, *map(str, arguments)]
            done = subprocess.run(words, env=own, cwd=tmp_path, capture_output=True, text=True)
            printed.extend([done.stdout, done.stderr])
            return done.returncode

        yield hub, run, printed


def test_a_login_a_push_and_a_pull_print_and_write_no_token(flow, adapter, tmp_path):
    hub, run, printed = flow
    assert run(LOGIN, secret=OWNER) == 0
    assert run(LOUDLY, "push", adapter, "user/new", "--private") == 0
    assert run(LOUDLY, "pull", "user/new", "pulled") == 0
    assert run(LOUDLY, "info", "user/new", "--json") == 0
    assert any(headers.get("authorization", headers.get("Authorization")) for _, _, headers in hub.requests)
    assert "DEBUG" in "".join(printed)
    assert OWNER not in "".join(printed)
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and OWNER.encode() in path.read_bytes()]
    assert {path.name for path in kept} <= {"token", "stored_tokens"}, "only where hf auth login keeps it"
    assert not [name for name, content in hub.repos["user/new"].tree().items() if OWNER.encode() in content]


def test_refusals_and_faults_print_no_token(flow, adapter):
    hub, run, printed = flow
    assert run(LOUDLY, "push", adapter, "user/new", token=REFUSED) == 2
    for act in (500, RESET):
        hub.fail("POST", "/commit/", act, times=9)
        assert run(LOUDLY, "push", adapter, "user/new", token=OWNER) == 2
        hub.faults.clear()
    assert run(LOUDLY, "pull", "user/none", token=REFUSED) == 2
    assert run(SAYS_ALL, secret=OWNER) == 0
    assert run(SAYS_ALL, secret=REFUSED) == 0
    assert "Traceback" in "".join(printed)
    assert not [secret for secret in (OWNER, REFUSED) if secret in "".join(printed)]
