"""A stand-in for ZeroGPU's package: decorated generators run in a forked process; what goes there and back is pickled.

The functions called are written to the file that `SPACES_CALLS` names. With `SPACES_REFUSE` no process gets a GPU.
"""

import multiprocessing
import os
from functools import wraps
from inspect import isgeneratorfunction

FORK = multiprocessing.get_context("fork")


def GPU(task, duration=None):
    assert isgeneratorfunction(task)

    @wraps(task)
    def forked(*arguments):
        with open(os.environ["SPACES_CALLS"], "a", encoding="utf-8") as file:
            file.write(f"{task.__name__}\n")
        if os.environ.get("SPACES_REFUSE"):
            raise RuntimeError("no GPU is free")
        asked, answered = FORK.SimpleQueue(), FORK.SimpleQueue()
        asked.put(arguments)
        process = FORK.Process(target=_answer, args=(task, asked, answered), daemon=True)
        process.start()
        while (item := answered.get()) is not None:
            yield item[0]
        process.join()

    return forked


def _answer(task, asked, answered):
    try:
        for item in task(*asked.get()):
            answered.put((item,))
    finally:
        answered.put(None)
