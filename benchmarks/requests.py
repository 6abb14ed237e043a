"""Ten requests to forget, one after the other, each from the adapter before: does what is kept wear off?

    python benchmarks/requests.py --requests 10 --queries 200

`moderation` in parts: every request names two more of its classes to forget, and starts from the adapter of the one
before (`unlearn(..., init=)`). Printed after each: test figures over all that is to be forgotten by then. The last line
is a fresh run that forgets all of it with as many queries as the requests took together.
"""

import argparse

from rich.console import Console
from rich.progress import track
from rich.table import Table

from hf_unlearn import ClipBlackBox, ForgetAdapter, demo, evaluate, unlearn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--queries", type=int, default=200, help="per request")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    task, model = demo.task("moderation", seed=args.seed), ClipBlackBox()
    each = -(-len(task.forget) // args.requests)
    shown = Table("request", "forgotten", "queries so far", "H", "Err_for", "Acc_mem", title="moderation, test, %")

    def run(forget: tuple[str, ...], queries: int, init: ForgetAdapter | None) -> ForgetAdapter:
        return unlearn(
            model, task.train, forget=forget, validation=task.validation, shots=task.shots, max_queries=queries,
            patience=None, seed=args.seed, progress=False, init=init,
        ).adapter  # fmt: skip

    def tell(name: str, adapter: ForgetAdapter, queries: int) -> None:
        row = evaluate(model, task.test, adapter).rows[-1]
        figures = (f"{100 * row[key]:.1f}" for key in ("H", "err_for", "acc_mem"))
        shown.add_row(name, str(len(adapter.config.forget)), f"{queries:,}", *figures)

    adapter = None
    for turn in track(range(1, args.requests + 1), "requests"):
        adapter = run(task.forget[: each * turn], args.queries, adapter)
        tell(str(turn), adapter, args.queries * turn)
    tell("fresh", run(task.forget, args.queries * args.requests, None), args.queries * args.requests)
    Console().print(shown)


if __name__ == "__main__":
    main()
