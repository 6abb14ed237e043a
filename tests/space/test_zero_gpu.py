"""The app on a ZeroGPU Space, with a stand-in for its package that forks and pickles as that does."""

import pickle
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from tests.support.browser import REPOSITORY, serving
from tests.support.hub_client import Client as Process

STAND_IN = REPOSITORY / "tests" / "support" / "zero_gpu"
CONTEXT = ("beer mug", "pizza, rose, bicycle", "embedded", "names", 50, "normal", "", "context")


@pytest.fixture
def calls(tmp_path):
    """The functions that the stand-in called, a line each."""
    return tmp_path / "calls"


def settings(calls, **more: str) -> dict[str, str]:
    on_path = {"PYTHONPATH": f"{REPOSITORY}:{STAND_IN}", "SPACES_ZERO_GPU": "1", "SPACES_CALLS": str(calls)}
    return {**on_path, "OMP_NUM_THREADS": "2", **more}  # two, since OpenMP's threads do not survive a fork


def test_a_run_goes_to_the_gpu_and_its_adapter_is_used_here(calls, tmp_path):
    with serving(tmp_path / "root", tmp_path / "log", **settings(calls)) as address:
        client = Client(address, verbose=False)
        assert not calls.exists()  # the first screen's example needs no GPU
        made = client.predict(*CONTEXT, api_name="/forget")
        assert calls.read_text().split() == ["work"]
        assert (made["kind"], made["forget"]) == ("context", ["beer mug"])
        assert client.predict(made["adapter"], api_name="/download")
        with pytest.raises(AppError, match="The Hub can't be reached"):
            client.predict("beer", model="no-such/model", api_name="/forget")
        assert calls.read_text().split() == ["work", "work"]
        client.close()
    assert "This run goes to the CPU." not in (tmp_path / "log").read_text()


def test_a_run_that_gets_no_gpu_goes_to_the_cpu(calls, tmp_path):
    with serving(tmp_path / "root", tmp_path / "log", **settings(calls, SPACES_REFUSE="1")) as address:
        client = Client(address, verbose=False)
        made = client.predict("beer mug", api_name="/forget")
        assert calls.read_text().split() == ["work"]
        assert made["kind"] == "edit"
        client.close()
    assert "This run goes to the CPU." in (tmp_path / "log").read_text()


def test_without_the_package_everything_is_on_the_cpu(calls, tmp_path):
    without = settings(calls, PYTHONPATH=str(REPOSITORY))
    with serving(tmp_path / "root", tmp_path / "log", **without) as address:
        client = Client(address, verbose=False)
        assert client.predict("beer mug", api_name="/forget")["kind"] == "edit"
        client.close()
    assert not calls.exists()


def run_until_the_first_step(stop: str) -> tuple[str, int]:
    """Stops a run of 3,000 queries at its first step; why it ended, and the queries it took."""
    from space.inputs.run_request import RunRequest
    from space.services.gpu_runs import work
    from space.services.run_progress import RunProgress

    request = RunRequest.parse("embedded", "beer mug", "pizza, rose", "names", 3_000, "normal", [], "", "context")
    for content in work(request, {"embedded": "embedded"}, Path(stop)):
        news = pickle.loads(content)
        if isinstance(news, RunProgress) and news.steps:
            Path(stop).touch()
    return news.reason, news.steps[-1].queries


def test_a_file_stops_the_run_in_the_other_process_and_the_best_so_far_is_kept(tmp_path):
    process = Process({"SPACES_ZERO_GPU": "1", "OMP_NUM_THREADS": "1"})
    reason, queries = process(run_until_the_first_step, str(tmp_path / "stop"))
    assert reason
    assert queries < 3_000
