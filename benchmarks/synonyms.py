"""Does training on some other names of what is forgotten help against names that were not trained on?

    python benchmarks/synonyms.py --task emoji10 --draws 5
    python benchmarks/synonyms.py --task moderation --draws 3

`unlearn` without other names, with the first and with the first two of every forgotten class; each adapter is judged on
test images by the first name, on which the last two were trained, and by those from the third on, on which none was.
"""

import argparse
from collections import defaultdict
from dataclasses import replace

from rich.console import Console
from rich.progress import track
from rich.table import Table

from hf_unlearn import ClipBlackBox, ForgetAdapter, evaluate, unlearn
from hf_unlearn.demo import emoji_tasks as demo

FIGURES = ("H", "err_for", "acc_mem", "synonym_err", "entropy", "recoverability", "retain_ece")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="emoji10", choices=["emoji10", "emoji100", "moderation"])
    parser.add_argument("--draws", type=int, default=5, help="of moderation seeds, as it has one draw")
    parser.add_argument("--queries", type=int, default=500)
    args = parser.parse_args()
    model, rows = ClipBlackBox(), defaultdict(list)
    for seed, trained in track([(seed, trained) for seed in range(args.draws) for trained in range(3)], "runs"):
        task = demo.task(args.task, seed if args.task != "moderation" else 0, seed)
        adapter = unlearn(
            model, task.train, forget=task.forget, validation=task.validation, shots=task.shots, seed=seed,
            max_queries=args.queries, patience=None, progress=False,
            synonyms={name: own[:trained] for name, own in task.synonyms.items()},
        ).adapter  # fmt: skip
        bare = ForgetAdapter(adapter.context, replace(adapter.config, synonyms={}))  # or trained ones are left out
        first, unseen = ({n: own[part] for n, own in task.synonyms.items()} for part in (slice(1), slice(2, None)))
        row = evaluate(model, task.test, bare, validation=task.validation, synonyms=unseen).rows[-1]
        by_first = evaluate(model, task.test, bare, synonyms=first).rows[-1]["synonym_err"]
        rows[trained].append([*(row[key] for key in FIGURES), by_first, adapter.config.ledger["seconds"]])
        figures = " ".join(f"{100 * figure:.1f}" for figure in rows[trained][-1][:-1])
        print(f"{args.task} {seed}, {trained} other names: {figures}", flush=True)
    shown = Table("other names", *FIGURES, "by the first", "s", title=f"{args.task}, test, %, mean of {args.draws}")
    for trained, own in rows.items():
        *means, seconds = (sum(column) / len(own) for column in zip(*own, strict=True))
        shown.add_row(str(trained), *(f"{100 * mean:.1f}" for mean in means), f"{seconds:.0f}")
    Console(width=160).print(shown)


if __name__ == "__main__":
    main()
