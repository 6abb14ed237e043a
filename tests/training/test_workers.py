"""Several processes of one job: the same adapter bit for bit, a dead process, Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from hf_unlearn.files import STATE
from hf_unlearn.training.scoring import micro_batch
from tests.support.forked import Forked

ARGUMENTS = ("--forget", "red", "--shots", "2", "--patience", "0")


@contextmanager
def started(count: int, arguments: list[str], place: Path, threads: int = 1):
    """`hf-unlearn` in so many processes, with what torchrun and `accelerate launch` tell theirs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if count > 1:
        told |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {} for rank in range(count)]
    processes = [
        Forked(arguments, place / f"{count}-{number}", told | rank, threads=threads)
        for number, rank in enumerate(ranks)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def finished(jobs: dict[int, list[str]], place: Path, threads: int = 1) -> dict[int, list[tuple[str, str]]]:
    """What the processes of several jobs, one for each count of them, said."""
    with ExitStack() as stack:
        running = {count: stack.enter_context(started(count, words, place, threads)) for count, words in jobs.items()}
        codes = {count: [process.wait(600) for process in job] for count, job in running.items()}
        said = {count: [process.said() for process in job] for count, job in running.items()}
        assert codes == {count: [0] * count for count in jobs}, said
    return said


def command(clip_folder, image_folder, out, queries: int, method: str = "proximal") -> list[str]:
    where = ["--model", clip_folder, "--data", str(image_folder), "--out", str(out)]
    return ["forget", *where, *ARGUMENTS, "--max-queries", str(queries), "--method", method]


@pytest.fixture
def many_classes(tmp_path, images) -> Path:
    """Thirty classes: enough names for a population to be shared out."""
    for label, name in enumerate(["red", *(f"class {number}" for number in range(29))]):
        folder = tmp_path / "thirty" / name
        folder.mkdir(parents=True)
        for shot in range(4):
            images[(label + 8 * shot) % len(images)].rotate(3 * label).save(folder / f"{shot}.png")
    return tmp_path / "thirty"


def test_a_population_is_split_by_its_names_alone():
    assert [micro_batch(20, classes, 4) for classes in (4, 10, 30, 1000)] == [25, 10, 5, 5]


@pytest.mark.parametrize(("method", "threads"), [("proximal", 1), ("proximal", 2), ("lcs-cma", 1)])
def test_one_two_and_three_processes_make_the_same_adapter_bit_for_bit(
    clip_folder, many_classes, tmp_path, method, threads
):
    counts = (1, 2, 3) if threads == 1 else (1, 2)
    jobs = {count: command(clip_folder, many_classes, tmp_path / str(count), 90, method) for count in counts}
    jobs[2] += ["--device", "cpu"]  # a device that is named changes nothing: they are one job
    for first, *others in finished(jobs, tmp_path, threads).values():
        assert "adapter saved" in first[0]
        assert not any(other for other, _ in others), "only the main process speaks"
    contexts = {(tmp_path / str(count) / "forget_context.safetensors").read_bytes() for count in jobs}
    ledgers = [json.loads((tmp_path / str(count) / "config.json").read_text())["ledger"] for count in jobs]
    assert len(contexts) == 1
    assert {ledger["queries"] for ledger in ledgers} == {90}
    assert len({ledger["text_tokens"] for ledger in ledgers}) == 1


def searching(run_dir: Path) -> None:
    """Waits until a run has saved its first state, so that all its processes are past their start."""
    for _ in range(6_000):
        if (run_dir / STATE).exists():
            return
        time.sleep(0.1)
    raise AssertionError("the run never got going")


def test_a_process_that_dies_ends_the_job_with_a_clear_message(clip_folder, image_folder, tmp_path):
    words = [*command(clip_folder, image_folder, tmp_path / "out", 10**7), "--run-dir", str(tmp_path / "run")]
    with started(2, words, tmp_path) as (main, other):
        searching(tmp_path / "run")
        other.kill()
        assert main.wait(600) == 2
    said = main.said()[1]
    assert "another process of this job has ended" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_ctrl_c_stops_all_processes_after_the_same_step_and_saves_the_best(clip_folder, image_folder, tmp_path):
    words = [*command(clip_folder, image_folder, tmp_path / "out", 10**7), "--run-dir", str(tmp_path / "run")]
    with started(2, words, tmp_path) as processes:
        searching(tmp_path / "run")
        for process in processes:
            os.kill(process.pid, signal.SIGINT)
        codes = [process.wait(600) for process in processes]
    said = [process.said() for process in processes]
    assert codes == [0, 0], said
    assert "interrupted; the best so far is kept" in said[0][0]
    assert (tmp_path / "out" / "config.json").exists()


WORK_AND_DISCONNECT = """
import sys, weakref
import numpy, torch.distributed
from hf_unlearn import ClipBlackBox
from hf_unlearn.training.workers import Workers

ClipBlackBox(sys.argv[1])
workers = Workers()
assert workers.count == 2
workers.broadcast(numpy.ones(3))
group = weakref.ref(torch.distributed.group.WORLD)
assert group() is not None
workers.disconnect()
assert group() is None, "something still holds the group, and its threads run on"
"""


def test_no_thread_of_the_connection_outlives_it(clip_folder):
    """One that does may abort the process at its exit: it returns tensors to a Python that is no more."""
    job = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    worker = [sys.executable, "-c", WORK_AND_DISCONNECT, clip_folder]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run([*job, *worker], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
