"""Ten requests to forget, one after the other, each from the one before: does what is kept wear off?

    python benchmarks/sequential_requests.py --requests 10 --queries 200
    python benchmarks/sequential_requests.py --requests 10 --queries 200 --adapters
    python benchmarks/sequential_requests.py --requests 10 --edits

`moderation` in parts: every request names as many more of its 20 classes to forget, and goes on with the search of the
one before (`unlearn(..., init=result)`), or starts from its adapter. Printed after each: test figures over all that
is to be forgotten by then. The last line is a fresh run that forgets all of it with as many queries as the requests
took together. With `--edits` every request is an edit from scores alone (14 queries, once), combined with those before.
"""

import argparse

from rich.console import Console
from rich.progress import track
from rich.table import Table

from hf_unlearn import ClipBlackBox, ForgetAdapter, combine, evaluate, unlearn
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.edits.by_score import SCORE_EDIT
from hf_unlearn.edits.by_score.box import ReferenceBlackBox
from hf_unlearn.training.result import Result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--queries", type=int, default=200, help="per request")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--adapters", action="store_true", help="nothing but the adapter is left of a request")
    kind.add_argument("--edits", action="store_true", help="edits from scores in place of searches; no --queries")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    task, model = demo.task("moderation", seed=args.seed), ClipBlackBox()
    model = ReferenceBlackBox(model) if args.edits else model
    each, left = divmod(len(task.forget), args.requests)
    if left:
        parser.error(f"--requests must divide the {len(task.forget)} classes to forget, got {args.requests}")
    shown = Table("request", "forgotten", "queries so far", "H", "Err_for", "Acc_mem", title="moderation, test, %")
    spent: list[int] = []  # by edits

    def run(forget: tuple[str, ...], queries: int, init: ForgetAdapter | Result | None) -> Result:
        if args.edits:
            new = forget[-each:] if init else forget
            edit = unlearn(model, forget=new, classes=task.names, method=SCORE_EDIT)
            spent.append(edit.adapter.config.ledger["queries"])
            return combine([init.adapter, edit.adapter], model) if init else edit
        return unlearn(
            model, task.train, forget=forget, validation=task.validation, shots=task.shots, max_queries=queries,
            patience=None, seed=args.seed, progress=False, init=init,
        )  # fmt: skip

    def tell(name: str, result: Result, queries: int) -> None:
        row = evaluate(model, task.test, result.adapter).rows[-1]
        figures = (f"{100 * row[key]:.1f}" for key in ("H", "err_for", "acc_mem"))
        shown.add_row(name, str(len(result.adapter.config.forget)), f"{sum(spent) or queries:,}", *figures)

    result = None
    for turn in track(range(1, args.requests + 1), "requests"):
        result = run(task.forget[: each * turn], args.queries, result.adapter if result and args.adapters else result)
        tell(str(turn), result, args.queries * turn)
    tell("fresh", run(task.forget, args.queries * args.requests, None), args.queries * args.requests)
    Console().print(shown)


if __name__ == "__main__":
    main()
