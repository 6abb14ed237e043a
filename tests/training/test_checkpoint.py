"""Runs that survive: killed at any moment, taken up again, the same adapter bit for bit."""

import random
import stat
import subprocess
import sys
import time
from shutil import copytree

import pytest
import torch

from hf_unlearn import unlearn
from hf_unlearn.errors import BudgetSpentError, RunError
from hf_unlearn.files import LOCK, STATE
from hf_unlearn.optimizers.methods import METHODS
from hf_unlearn.training.checkpoint import Checkpoint, RunState
from hf_unlearn.training.result import StopReason
from tests.support.forked import Forked
from tests.support.images import coloured


def run(model, folder, **changes):
    arguments = {"forget": ["red"], "max_queries": 90, "shots": 2, "progress": False, **changes}
    return unlearn(model, coloured(6), run_dir=folder, **arguments)


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(Checkpoint, "is_due", lambda self: True)


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_run_goes_on_as_if_nothing_had_been(clip, tmp_path, method, always):
    whole = run(clip, None, method=method)
    seen = []
    stopped = run(clip, tmp_path, method=method, on_step=lambda step: seen.append(step) or step.queries >= 45)
    assert stopped.reason is StopReason.CANCELLED
    calls = []
    resumed = run(clip, tmp_path, method=method, on_step=lambda step: calls.append(step) and False)
    assert calls[0].queries > seen[-1].queries, "it started anew"
    assert torch.equal(resumed.adapter.context, whole.adapter.context)
    assert [(s.queries, s.loss, s.H) for s in resumed.history] == [(s.queries, s.loss, s.H) for s in whole.history]
    ledgers = [result.adapter.config.ledger for result in (resumed, whole)]
    assert all(ledgers[0][key] == ledgers[1][key] for key in ("queries", "text_tokens", "image_encodings"))


class Metered:
    """A box that fails after so many queries."""

    def __init__(self, box, most: float, error: BaseException):
        self._box, self.left, self._error = box, most, error

    def __getattr__(self, name):
        return getattr(self._box, name)

    def log_scores(self, contexts, images, names):
        if len(contexts) > self.left:
            raise self._error
        self.left -= len(contexts)
        return self._box.log_scores(contexts, images, names)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BudgetSpentError("no more"), StopReason.REFUSED),
        (KeyboardInterrupt(), StopReason.INTERRUPTED),
        (ConnectionError("the line is dead"), None),
    ],
)
def test_no_query_is_asked_twice_however_a_run_ended(clip, tmp_path, method, error, reason):
    """Without `always`: what counts is the save at the end."""
    whole = run(clip, None, method=method)
    failing = Metered(clip, 45, error)
    if reason is None:
        with pytest.raises(ConnectionError):
            run(failing, tmp_path, method=method)
    else:
        assert run(failing, tmp_path, method=method).reason is reason
    asked = 45 - failing.left
    rest = Metered(clip, 1_000, error)
    resumed = run(rest, tmp_path, method=method)
    assert torch.equal(resumed.adapter.context, whole.adapter.context)
    total = whole.history[-1].queries
    assert 1_000 - rest.left <= total - asked + clip.calls  # a batch that failed halfway is asked again
    again = Metered(clip, 1_000, error)
    assert run(again, tmp_path, method=method).history[-1].queries == total
    assert 1_000 - again.left < 20  # the batch that the budget cut short


def test_a_disk_that_is_full_at_the_end_takes_no_result(clip, tmp_path, monkeypatch):
    def save(*_):
        raise RunError("no room")

    monkeypatch.setattr(Checkpoint, "is_due", lambda self: False)
    monkeypatch.setattr(Checkpoint, "save", save)
    with pytest.warns(UserWarning, match="no room") as said:
        result = run(clip, tmp_path)
    assert result.reason is StopReason.BUDGET
    assert {warning.filename for warning in said} == {__file__}


def test_a_run_that_was_stale_or_cancelled_is_saved(clip, tmp_path):
    stale = run(clip, tmp_path / "a", patience=10)
    again = Metered(clip, 0, ConnectionError("asked"))
    assert run(again, tmp_path / "a", patience=10).reason is StopReason.CONVERGED
    assert stale.reason is StopReason.CONVERGED
    run(clip, tmp_path / "b", on_step=lambda step: step.queries >= 30)
    first = []
    run(clip, tmp_path / "b", on_step=lambda step: first.append(step.queries) or True)
    assert first[0] > 30


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_run_that_went_on_with_another_ones_search_goes_on(clip, tmp_path, method, always):
    first = run(clip, None, method=method)
    arguments = {"method": method, "forget": ["red", "blue"], "init": first}
    whole = run(clip, None, **arguments)
    run(clip, tmp_path, **arguments, on_step=lambda step: step.queries >= 45)
    resumed = run(clip, tmp_path, **arguments)
    assert torch.equal(resumed.adapter.context, whole.adapter.context)
    assert [(s.queries, s.loss, s.H) for s in resumed.history] == [(s.queries, s.loss, s.H) for s in whole.history]
    with pytest.raises(RunError, match="search that it continues"):
        run(clip, tmp_path, **{**arguments, "init": first.adapter})


def test_a_finished_run_returns_the_same_again_and_may_be_prolonged(clip, tmp_path, always):
    first = run(clip, tmp_path)
    assert torch.equal(run(clip, tmp_path).adapter.context, first.adapter.context)
    longer = run(clip, tmp_path, max_queries=150)
    assert torch.equal(longer.adapter.context, run(clip, None, max_queries=150).adapter.context)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"forget": ["blue"]}, "classes to forget"),
        ({"method": "lcs-cma"}, "method"),
        ({"shots": 3}, "training images"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_left_alone(clip, tmp_path, always, changes, named):
    run(clip, tmp_path)
    before = (tmp_path / STATE).read_bytes()
    with pytest.raises(RunError, match=f"other .*{named}"):
        run(clip, tmp_path, **changes)
    assert (tmp_path / STATE).read_bytes() == before


def test_one_process_at_a_time(clip, tmp_path):
    with Checkpoint(tmp_path, {}).locked(), pytest.raises(RunError, match="another process is working"):
        run(clip, tmp_path)


def test_the_folder_is_private(clip, tmp_path, always):
    run(clip, tmp_path / "run")
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


def test_a_damaged_state_is_named_and_not_overwritten(clip, tmp_path, always):
    run(clip, tmp_path)
    damaged = (tmp_path / STATE).read_bytes()[:-100]
    (tmp_path / STATE).write_bytes(damaged)
    with pytest.raises(RunError, match="not a run's state"):
        run(clip, tmp_path)
    assert (tmp_path / STATE).read_bytes() == damaged


def test_a_place_where_no_folder_can_be_is_named(clip, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="can't be used as a run folder"):
        run(clip, tmp_path / "file")


FULL = """
import resource, signal, sys
import torch
from hf_unlearn.training.checkpoint import Checkpoint, RunError, RunState
run = Checkpoint(sys.argv[1], {})
with run.locked():
    run.save(RunState({"n": 1}, {"x": torch.zeros(10)}))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        run.save(RunState({"n": 2}, {"x": torch.zeros(10_000)}))
    except RunError as error:
        print(error)
    print(run.load().facts["n"])
"""


def test_a_write_that_fails_half_way_loses_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    error, kept = done.stdout.strip().splitlines()
    assert "can't save the run" in error
    assert "repeat the command" in error
    assert kept == "1"
    assert not (tmp_path / f".{STATE}").exists()


def on_a_disk_of_its_own(folder, options: str, command: list[str]) -> subprocess.CompletedProcess:
    """Runs a command in which `folder` is a small file system that nobody else sees."""
    mount = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        'mount -t tmpfs -o "$1" none "$0" && shift && exec "$@"',
    ]
    if subprocess.run([*mount, str(folder), "size=1m", "true"], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    return subprocess.run([*mount, str(folder), options, *command], capture_output=True, text=True)


FILLED = """
import sys
import torch
from hf_unlearn.training.checkpoint import LOCK, STATE, Checkpoint, RunError, RunState
run = Checkpoint(sys.argv[1], {})
with run.locked():
    run.save(RunState({"n": 1}, {"x": torch.zeros(20_000)}))
    for number in range(2, 5):  # each alone fits, two do not
        try:
            run.save(RunState({"n": number}, {"x": torch.zeros(20_000)}))
        except RunError as error:
            print(error)
    print(run.load().facts["n"], sorted(path.name for path in run.folder.iterdir()))
"""


def test_a_disk_that_is_really_full_is_told_each_time_and_loses_nothing(tmp_path):
    done = on_a_disk_of_its_own(tmp_path, "size=120k", [sys.executable, "-c", FILLED, str(tmp_path)])
    *errors, kept = done.stdout.splitlines()
    assert len(errors) == 3, done.stderr
    assert all("can't save the run (No space left on device)" in error for error in errors)
    assert kept == f"1 ['{LOCK}', '{STATE}']"


@pytest.mark.parametrize("option", ["--run-dir", "--out"])
def test_a_folder_that_cannot_be_written_is_told_before_any_training(clip_folder, image_folder, tmp_path, option):
    place = tmp_path / "fixed"
    place.mkdir()
    command = forget(clip_folder, image_folder, tmp_path / "out", tmp_path / "run")
    command[command.index(option) + 1] = str(place / "new")
    done = on_a_disk_of_its_own(place, "ro", [sys.executable, "-m", "hf_unlearn", *command])
    assert done.returncode == 2
    assert f"{place / 'new'}: can't be" in done.stderr
    assert "(Read-only file system); choose another" in done.stderr
    assert not (tmp_path / "run" / STATE).exists()
    assert not (tmp_path / "out").exists()


def test_the_command_in_a_run_folder_that_another_process_holds_says_so(clip_folder, image_folder, tmp_path):
    with Checkpoint(tmp_path / "run", {}).locked():
        held = Forked(forget(clip_folder, image_folder, tmp_path / "out", tmp_path / "run"), tmp_path / "held")
        assert held.wait() == 2
    assert "another process is working in this run folder" in held.said()[1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", [0.1, 0.3, 0.6, 0.95])
def test_a_flipped_bit_is_noticed(tmp_path, place):
    folder = Checkpoint(tmp_path, {"seed": 0})
    with folder.locked():
        folder.save(RunState({"n": 1}, {"x": torch.randn(64)}))
    content = bytearray((tmp_path / STATE).read_bytes())
    content[int(place * len(content))] ^= 1
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(RunError, match="not a run's state"):
        folder.load()


def test_a_state_comes_back_as_it_was(tmp_path):
    state = RunState({"phase": "probe", "generator": {"state": 2**127 + 1}}, {"x": torch.randn(3, 2)})
    folder = Checkpoint(tmp_path, {"seed": 0})
    assert folder.load() is None
    with folder.locked():
        folder.save(state)
    back = folder.load()
    assert back is not None
    assert back.facts == state.facts
    assert torch.equal(back.tensors["x"], state.tensors["x"])


def forget(clip_folder, image_folder, out, run_dir, *more) -> list[str]:
    return [
        "forget", "--model", clip_folder, "--data", str(image_folder), "--forget", "red", "--shots", "2", "--patience",
        "0", "--max-queries", "1500", "--out", str(out), "--run-dir", str(run_dir), *more,
    ]  # fmt: skip


def test_killed_five_times_at_random_the_adapter_is_the_same(clip_folder, image_folder, tmp_path):
    threads = 2
    alone = forget(clip_folder, image_folder, tmp_path / "whole", tmp_path / "a")
    whole = Forked(alone, tmp_path / "whole", threads=threads)
    draw = random.Random(0)
    command = forget(clip_folder, image_folder, tmp_path / "killed", tmp_path / "b")
    kills = 0
    for _ in range(5):
        process = Forked(command, tmp_path / "killed", threads=threads)
        state, start = tmp_path / "b" / STATE, time.monotonic()
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and time.monotonic() - start < 600:
            if state.exists() and state.stat().st_mtime_ns != before:
                break
            time.sleep(0.01)
        process.wait(draw.uniform(0, 1.0))
        if process.poll() is None:
            process.kill()
            kills += 1
    assert Forked(command, tmp_path / "killed", threads=threads).wait() == whole.wait() == 0
    assert kills >= 3, "the run ended before it could be killed"
    same = [(tmp_path / name / "forget_context.safetensors").read_bytes() for name in ("whole", "killed")]
    assert same[0] == same[1]


def test_leaving_images_out_equals_never_having_seen_them(clip_folder, image_folder, tmp_path):
    contributed = sorted((image_folder / "blue").iterdir())[:3]
    listed = tmp_path / "contributor.txt"
    listed.write_text("\n".join(map(str, contributed)) + "\n")
    fewer = copytree(image_folder, tmp_path / "fewer")
    for path in contributed:
        (fewer / "blue" / path.name).unlink()
    commands = {
        "a": forget(clip_folder, image_folder, tmp_path / "a", tmp_path / "ra", "--exclude", str(listed)),
        "b": forget(clip_folder, fewer, tmp_path / "b", tmp_path / "rb"),
    }
    runs = [Forked([*words, "--max-queries", "60"], tmp_path / name) for name, words in commands.items()]
    assert [run.wait() for run in runs] == [0, 0]
    same = [(tmp_path / name / "forget_context.safetensors").read_bytes() for name in ("a", "b")]
    assert same[0] == same[1]
