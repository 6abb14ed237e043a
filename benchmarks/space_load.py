"""Many visitors at once on the real app on loopback: latencies, memory, and whether anybody got another's answer.

    python benchmarks/space_load.py --visitors 50 --forgetting 5 --seconds 120
    python benchmarks/space_load.py --visitors 1 --forgetting 0 --seconds 20 --pause 0

A visitor looks at the scores for `--pause` seconds before the next picture; who forgets starts anew at once. What has
no answer `--grace` seconds after the end is counted as such and not waited for. Every visitor has labels of its own, so an answer about other labels is a mix-up; so is an adapter that forgets another
visitor's names.
"""

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from gradio_client import Client, handle_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from browser import serving

from hf_unlearn import demo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--forgetting", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--pause", type=float, default=2)
    parser.add_argument("--grace", type=float, default=120)
    args = parser.parse_args()
    names = sorted(name for name, concept in demo.concepts().items() if concept["category"] != "People & Body")
    waits: list[float] = []
    runs: list[float] = []
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as address:
        picture = Path(folder) / "picture.png"
        demo.drawings("guitar", "test")[0][1].save(picture)
        app = next(p for p in psutil.Process().children() if "python" in p.name())
        Client(address, verbose=False).predict(
            handle_file(str(picture)), "guitar\nkey", "", "embedded", True, api_name="/classify"
        )
        before, end = app.memory_info().rss, time.monotonic() + args.seconds

        def classify(number: int) -> None:
            own = [f"{name} {number}" for name in names[:8]]
            client = Client(address, verbose=False)
            while time.monotonic() < end:
                start = time.monotonic()
                try:
                    answer = client.predict(
                        handle_file(str(picture)), "\n".join(own), "", "embedded", True, api_name="/classify"
                    )
                except Exception as error:
                    wrong.append(f"classify: {error!r}"[:200])
                    continue
                waits.append(time.monotonic() - start)
                if {row["label"] for row in answer[0]["confidences"]} != set(own):
                    wrong.append(f"visitor {number} got another's labels")
                time.sleep(args.pause)

        def forget(number: int) -> None:
            gone, kept = names[10 * number : 10 * number + 3], names[10 * number + 3 : 10 * number + 9]
            client = Client(address, verbose=False)
            while time.monotonic() < end:
                start = time.monotonic()
                try:
                    made = client.predict(
                        "\n".join(gone), "\n".join(kept), "embedded", "drawings", 50, "normal", "", api_name="/forget"
                    )
                except Exception as error:
                    wrong.append(f"forget: {error!r}"[:200])
                    continue
                runs.append(time.monotonic() - start)
                if made["forget"] != gone:
                    wrong.append(f"run {number} forgot another's names")

        threads = [threading.Thread(target=classify, args=(i,), daemon=True) for i in range(args.visitors)]
        threads += [threading.Thread(target=forget, args=(i,), daemon=True) for i in range(args.forgetting)]
        for thread in threads:
            thread.start()
        peak = before
        while (waiting := sum(thread.is_alive() for thread in threads)) and time.monotonic() < end + args.grace:
            peak = max(peak, app.memory_info().rss)
            time.sleep(0.5)
        after = app.memory_info().rss
    waits.sort()
    middle, tail = (waits[min(len(waits) - 1, int(share * len(waits)))] for share in (0.5, 0.95))
    print(f"{args.visitors} visitors, {args.forgetting} forgetting, {args.seconds:.0f} s: {len(waits)} classified, "
          f"p50 {middle:.2f} s, p95 {tail:.2f} s; {len(runs)} runs, longest {max(runs, default=0):.0f} s; memory "
          f"{before >> 20} MB before, {peak >> 20} at most, {after >> 20} after; {len(wrong)} errors, "
          f"{waiting} without an answer {args.grace:.0f} s after the end")  # fmt: skip
    for line in sorted(set(wrong))[:10]:
        print("  ", line)
    sys.exit(bool(wrong or waiting))


if __name__ == "__main__":
    main()
