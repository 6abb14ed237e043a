"""Images on their way to a model: read and processed by threads, ahead of the model, in order."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from hf_unlearn.data.pixels import as_images, to_rgb
from hf_unlearn.models.black_box import ENCODED_AT_ONCE, batches

ON_A_GPU = 256  # images that a GPU encodes at once, if its memory allows
READ_AT_ONCE = 8  # files that one of several threads reads and processes for it
MOST_THREADS = 8  # more wait for each other: 16 are slower
Load = Callable[[], Image.Image]


def at_once(model: Any, device: torch.device, usual: int) -> int:
    """How many images to encode at once: on a GPU as many as a twentieth of its memory takes."""
    config = getattr(model.config, "vision_config", None)
    size, patch, width = (getattr(config, name, None) for name in ("image_size", "patch_size", "hidden_size"))
    if device.type != "cuda" or not (isinstance(size, int) and isinstance(patch, int) and isinstance(width, int)):
        return usual
    bytes_each = 24 * 4 * width * ((size // patch) ** 2 + 1)  # some 24 numbers for each of the hidden states
    fitting = torch.cuda.get_device_properties(device).total_memory // 20 // bytes_each
    return max(usual, min(ON_A_GPU, fitting // usual * usual))


def processed(images: Any, processor: Callable[..., Any], size: int, device: torch.device) -> Iterator[dict[str, Any]]:
    """What a model takes, for `size` images at a time, on the device.

    One thread works a batch ahead. For a GPU, if the images are files, several threads take a few each.

    Args:
        images: what `as_images` gives.
        processor: transformers' image processor.

    Raises:
        ValueError: as `to_rgb` does.
    """
    on_gpu = device.type == "cuda"
    several = on_gpu and _are_files(images)
    part = READ_AT_ONCE if several else min(size, ENCODED_AT_ONCE)
    threads = min(MOST_THREADS, os.cpu_count() or 1) if several else 1
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "images", partial(torch.set_num_threads, 1) if several else None)
    work = partial(_process, processor=processor, pinned=on_gpu)
    try:
        with warnings.catch_warnings():  # threads that silence warnings leave them so
            for parts in batches(_ahead(pool, work, batches(_loads(images), part), 2 * threads - 1), size // part):
                moved = [{key: value.to(device, non_blocking=True) for key, value in one.items()} for one in parts]
                yield moved[0] if len(moved) == 1 else {key: torch.cat([one[key] for one in moved]) for key in moved[0]}
    finally:
        pool.shutdown(cancel_futures=True)
        if several:
            torch.set_num_threads(before)


def _are_files(images: Any) -> bool:
    """Whether several images are files, by the first of them."""
    items = getattr(images, "items", images)
    return isinstance(items, Sequence) and bool(items) and isinstance(items[0], str | os.PathLike)


def _loads(images: Any) -> Iterator[Load]:
    """For each image what gives it as RGB. Files are read when it is called, all else is at once, by one thread."""
    if isinstance(items := getattr(images, "items", None), tuple):  # labelled images
        for index, item in enumerate(items):
            yield partial(images.__getitem__, index) if isinstance(item, Path) else partial(_itself, images[index])
        return
    for index, item in enumerate(as_images(images)):
        if isinstance(item, str | os.PathLike | bytes):
            yield partial(to_rgb, item, index)
        else:
            yield partial(_itself, to_rgb(item, index))


def _itself(image: Image.Image) -> Image.Image:
    return image


def _process(loads: list[Load], processor: Callable[..., Any], pinned: bool) -> dict[str, Any]:
    inputs = dict(processor([load() for load in loads], return_tensors="pt"))
    return {key: value.pin_memory() for key, value in inputs.items()} if pinned else inputs


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], parts: Iterable[Any], count: int
) -> Iterator[dict[str, Any]]:
    """`work` of each part, in order, begun for so many parts more than were asked for."""
    waiting: deque[Future[dict[str, Any]]] = deque()
    for part in parts:
        waiting.append(pool.submit(work, part))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
