"""Several processes of one job: the same adapter bit for bit, a dead process, Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from hf_unlearn.processes import micro_batch

ARGUMENTS = ("--forget", "red", "--shots", "2", "--patience", "0")


@contextmanager
def started(count: int, arguments: list[str]):
    """`hf-unlearn` in so many processes, with what torchrun and `accelerate launch` tell theirs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if count > 1:
        told |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "hf_unlearn", *arguments],
            env={**os.environ, **told, **({"RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def finished(count: int, arguments: list[str]) -> list[tuple[str, str]]:
    with started(count, arguments) as processes:
        said = [process.communicate(timeout=240) for process in processes]
        assert [process.returncode for process in processes] == [0] * count, said
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


@pytest.mark.parametrize("method", ["proximal", "lcs-cma"])
def test_one_two_and_three_processes_make_the_same_adapter_bit_for_bit(clip_folder, many_classes, tmp_path, method):
    contexts, ledgers = [], []
    for count in (1, 2, 3):
        out = tmp_path / str(count)
        said = finished(count, command(clip_folder, many_classes, out, 90, method))
        assert "adapter saved" in said[0][0]
        assert not any(other for other, _ in said[1:]), "only the main process speaks"
        contexts.append((out / "forget_context.safetensors").read_bytes())
        ledgers.append(json.loads((out / "config.json").read_text())["ledger"])
    assert contexts[0] == contexts[1] == contexts[2]
    assert [ledger["queries"] for ledger in ledgers] == [90] * 3
    assert len({ledger["text_tokens"] for ledger in ledgers}) == 1


def busy(process: subprocess.Popen, seconds: float) -> None:
    """Waits until a process has used so much processor time, so that it is past its start."""
    ticks = os.sysconf("SC_CLK_TCK")
    for _ in range(1200):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        if (int(fields[11]) + int(fields[12])) / ticks > seconds:
            return
        time.sleep(0.1)
    raise AssertionError("the process never got going")


def test_a_process_that_dies_ends_the_job_with_a_clear_message(clip_folder, image_folder, tmp_path):
    with started(2, command(clip_folder, image_folder, tmp_path / "out", 10**7)) as (main, other):
        busy(main, 15)
        other.kill()
        _, said = main.communicate(timeout=60)
    assert main.returncode == 2
    assert "another process of this job has ended" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_ctrl_c_stops_all_processes_after_the_same_step_and_saves_the_best(clip_folder, image_folder, tmp_path):
    with started(2, command(clip_folder, image_folder, tmp_path / "out", 10**7)) as processes:
        for process in processes:
            busy(process, 15)
        for process in processes:
            process.send_signal(signal.SIGINT)
        said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "interrupted; the best so far is kept" in said[0][0]
    assert (tmp_path / "out" / "config.json").exists()
