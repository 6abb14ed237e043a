"""What visitors of a Space do, polite or not: each act is a few calls over HTTP that end in an answer or in words."""

from __future__ import annotations

import io
import random
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from hf_unlearn.demo import emoji_tasks as demo
from tests.support.gradio_http import Refusal, Stranger

ADAPTERS = "space/adapters"
READY = [f"{ADAPTERS}/{name}" for name in ("alcohol", "weapons", "gambling", "tobacco", "people", "insects")]
READY += [f"{ADAPTERS}/moderation", f"{ADAPTERS}/moderation-by-scores", ""]
NAMES = sorted(name for name, facts in demo.concepts().items() if facts["category"] != "People & Body")
WORDS = ["absinthe", "lantern", "anchor", "saxophone", "orchid", "hammer", "teapot", "velvet", "tractor", "falcon"]
RAW = re.compile(r"Traceback|line \d+, in|/work/|/tmp/|site-packages|object at 0x")  # no words for a visitor
LONGEST_STAY = 10  # acts of one visit


class Wrong(Exception):
    """An answer that should never be given."""


def picture(draw: random.Random) -> bytes:
    """A photo that nobody sent before."""
    noise = np.random.default_rng(draw.getrandbits(32)).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((draw.randint(200, 900), draw.randint(200, 900)))
    content = io.BytesIO()
    image.save(content, draw.choice(["PNG", "JPEG", "WEBP"]))
    return content.getvalue()


def sent(visitor: Stranger, content: bytes, name: str) -> dict:
    answer = visitor.http.post("/upload", files={"files": (name, content)})
    answer.raise_for_status()
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}, "orig_name": name}


def look(visitor: Stranger, draw: random.Random) -> None:
    """Opens the page: what a browser asks for, and what the page asks for by itself."""
    visitor.http.get(str(visitor.http.base_url).removesuffix("gradio_api/")).raise_for_status()
    for event in visitor.events["dependencies"]:
        if any(kind == "load" for _, kind in event["targets"]) and not event["inputs"] and event["backend_fn"]:
            visitor.call(event["id"])


def classify(visitor: Stranger, draw: random.Random) -> None:
    labels = draw.sample(NAMES, draw.randint(2, 12)) + [f"thing {draw.getrandbits(24)}"]
    image = sent(visitor, picture(draw), "photo.png")
    found, *_ = visitor.call(visitor.named("classify"), image, "\n".join(labels), draw.choice(READY), "embedded", True)
    if set(found["before"]) != set(labels):
        raise Wrong("another's labels")


def change_adapter(visitor: Stranger, draw: random.Random) -> None:
    show = visitor.event("Adapter, or an adapter's id on the Hub", "input")
    key, *_ = visitor.call(show, chosen := draw.choice(READY), "embedded", "", "")
    if key != chosen:
        raise Wrong("another adapter")


def forget_by_name(visitor: Stranger, draw: random.Random) -> None:
    gone = draw.sample(NAMES if draw.random() < 0.5 else WORDS, 2)
    (made,) = visitor.call(visitor.named("forget"), "、".join(gone), "", "embedded", "names", 300, "normal", "", "")
    if made["forget"] != gone:
        raise Wrong("another's names")
    image = sent(visitor, picture(draw), "photo.jpg")
    visitor.call(visitor.named("classify"), image, ", ".join([*gone, "guitar"]), made["adapter"], "embedded", True)


def run_on_the_page(visitor: Stranger, draw: random.Random) -> None:
    """An edit, watched, and taken along."""
    asked = ["embedded", "\n".join(draw.sample(NAMES, 2)), "", "names", 300, "normal", None, "", "edit"]
    *_, download = visitor.call(generator(visitor), *asked)
    visitor.http.get(f"/file={download['value']['path']}").raise_for_status()


def bring_images(visitor: Stranger, draw: random.Random) -> None:
    """A zip of a few classes, one of them to be forgotten by a short search."""
    names, content = draw.sample(NAMES, 3), io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            for number in range(6):
                archive.writestr(f"{name}/{number}.png", picture(draw))
    asked = [
        "embedded",
        names[0],
        "",
        "files",
        50,
        "normal",
        sent(visitor, content.getvalue(), "own.zip"),
        "",
        "context",
    ]
    visitor.call(generator(visitor), *asked)


def bring_adapter(visitor: Stranger, draw: random.Random) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in Path(__file__).resolve().parent.parent.joinpath(draw.choice(READY[:-1])).iterdir():
            archive.write(path, path.name)
    take = visitor.event("An adapter as a zip, or its files", "upload")
    visitor.call(take, [sent(visitor, content.getvalue(), "adapter.zip")])


def misbehave(visitor: Stranger, draw: random.Random) -> None:
    """One of many bad inputs; the answer is a refusal in words."""
    odd = draw.choice([None, 7, 1e308, [["a"]], {"a": [1]}, "x" * 300_000, "\x00", "../../etc/passwd", "", True])
    good = ["beer mug\nguitar", "", "embedded"]
    spoilt = good[: (place := draw.randrange(3))] + [odd] + good[place + 1 :]
    junk = sent(visitor, draw.randbytes(2_000), draw.choice(["junk.png", "junk.zip", "a b;c.gif"]))
    kinds: list[tuple[int, list]] = [
        (visitor.named("classify"), [sent(visitor, picture(draw), "photo.png"), *spoilt, True]),
        (visitor.named("classify"), [junk, *good, True]),
        (visitor.named("forget"), [odd, "", "embedded", "names", 300, "normal", "", ""]),
        (visitor.named("forget"), ["a", "a", "embedded", odd, odd, odd, odd, odd]),
        (visitor.named("describe"), [odd, odd]),
        (visitor.named("score"), ["embedded", "{}", odd, odd, odd, odd]),
        (visitor.event("An adapter as a zip, or its files", "upload"), [[junk]]),
        (generator(visitor), ["embedded", "a", "", "files", 50, "normal", junk, "", "edit"]),
    ]
    event, data = draw.choice(kinds)
    try:
        visitor.call(event, *data)
    except Refusal as refusal:
        if RAW.search(str(refusal)) or str(refusal) in ("None", ""):
            raise Wrong(f"a raw error: {str(refusal)[:200]}") from refusal


def leave(visitor: Stranger, draw: random.Random) -> None:
    """Starts what takes minutes, and goes: at once, after a look, or without ever having listened."""
    gone, kept = draw.sample(NAMES, 3), draw.sample(NAMES, 6)
    asked = ["\n".join(gone), "\n".join(set(kept) - set(gone)), "embedded", "drawings", 3_000, "normal", "", "context"]
    visitor.join(visitor.named("forget"), *asked)
    if draw.random() < 0.2:
        return
    with visitor.listening() as news:
        next(news)
        time.sleep(draw.random() * 4)


def generator(visitor: Stranger) -> int:
    """The page's run."""
    return next(event["id"] for event in visitor.events["dependencies"] if event["types"]["generator"])


ACTS: dict[Callable[[Stranger, random.Random], None], int] = {
    classify: 40, look: 12, change_adapter: 15, forget_by_name: 8, run_on_the_page: 4, bring_images: 2,
    bring_adapter: 6, misbehave: 10, leave: 3,
}  # fmt: skip
