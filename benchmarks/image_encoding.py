"""Images per second from files to image features, and where the time goes, beside two plain ways.

    python benchmarks/image_encoding.py                      # on the GPU if there is one
    python benchmarks/image_encoding.py --files 300          # for a CPU

JPEG files of 500 x 375 pixels (smooth noise, a few hundred different ones), a random CLIP of ViT-B/16's shape, float32.

- loop: transformers as its documentation has it: open 32 files, process, encode, the next 32.
- loader: a PyTorch DataLoader, a worker for every core that opens and processes, batches of 256 in pinned memory.
- ours: `ClipBlackBox.add_images`.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from speed import where, write_model

from hf_unlearn import ClipBlackBox
from hf_unlearn.data.pixels import to_rgb

DIFFERENT = 256
SIZE = (500, 375)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--shape", default="ViT-B/16")
    parser.add_argument("--peer-files", type=int, help="fewer for the loop and the loader")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        model, files = Path(place) / "model", write_files(Path(place), args.files)
        write_model(args.shape, model)
        print(f"{where()}, {os.cpu_count()} cores, {args.files:,} files", flush=True)
        for dtype in ("float32", "float16") if torch.cuda.is_available() else ("float32",):
            box = ClipBlackBox(str(model), template="{}", dtype=dtype)
            parts(box, files[:DIFFERENT], dtype)
            told = {"ours": measure(lambda b=box: b.add_images(files).features, files)}
            few = files[: args.peer_files or len(files)]
            told["loop"] = measure(lambda b=box, f=few: loop(b, f), few)
            told["loader"] = measure(lambda b=box, f=few: loader(b, f), few)
            for name, (rate, features) in told.items():
                mine = told["ours"][1][: len(features)]
                print(f"{dtype} {name}: {rate:,.0f} files/s; features differ from ours by up to "
                      f"{float((features - mine).norm(dim=-1).max()):.0e}", flush=True)  # fmt: skip


def write_files(folder: Path, count: int) -> list[Path]:
    draw, files = np.random.default_rng(0), []
    for number in range(count):
        files.append(folder / f"{number}.jpg")
        if number < DIFFERENT:
            coarse = Image.fromarray(draw.integers(0, 256, (47, 63, 3), dtype=np.uint8))
            fine = draw.integers(0, 24, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
            pixels = np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC)) // 4 * 3 + fine
            Image.fromarray(pixels).save(files[-1], quality=90)
        else:
            files[-1].write_bytes(files[number % DIFFERENT].read_bytes())
    return files


def measure(work, files: list[Path]) -> tuple[float, torch.Tensor]:
    """Files per second, and features."""
    start = time.perf_counter()
    features = work().cpu()
    return len(files) / (time.perf_counter() - start), features


def parts(box: ClipBlackBox, files: list[Path], dtype: str) -> None:
    """Milliseconds a file that each step takes, alone, on one thread of Python."""
    processor, at_once = box.processor.image_processor, box.encoded_at_once
    box.add_images(files[:at_once])  # warm
    start = time.perf_counter()
    pictures = [to_rgb(path) for path in files]
    read = time.perf_counter()
    inputs = processor(pictures, return_tensors="pt")["pixel_values"]
    done = time.perf_counter()
    moved = inputs[:at_once].to(box.device)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        box._image_features({"pixel_values": moved}).cpu()
        times.append((time.perf_counter() - begin) / len(moved))
    read, process = (1e3 * seconds / len(files) for seconds in (read - start, done - read))
    print(f"{dtype}: a file takes {read:.2f} ms to read, {process:.2f} to process, "
          f"{1e3 * statistics.median(times):.3f} to encode, {at_once} at once", flush=True)  # fmt: skip


@torch.no_grad()
def loop(box: ClipBlackBox, files: list[Path]) -> torch.Tensor:
    found = []
    for start in range(0, len(files), 32):
        pictures = [Image.open(path).convert("RGB") for path in files[start : start + 32]]
        inputs = box.processor(images=pictures, return_tensors="pt").to(box.device, box.dtype)
        found.append(
            torch.nn.functional.normalize(box.model.get_image_features(**inputs).pooler_output.float(), dim=-1)
        )
    return torch.cat(found)


class Files(torch.utils.data.Dataset):
    """What workers of the loader do for a file."""

    def __init__(self, files: list[Path], processor) -> None:
        self.files, self.processor = files, processor

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.processor(Image.open(self.files[index]).convert("RGB"), return_tensors="pt")["pixel_values"][0]


@torch.no_grad()
def loader(box: ClipBlackBox, files: list[Path]) -> torch.Tensor:
    on_gpu = box.device.type == "cuda"
    batches = torch.utils.data.DataLoader(
        Files(files, box.processor.image_processor), batch_size=256 if on_gpu else 32, num_workers=os.cpu_count() or 1,
        pin_memory=on_gpu,
    )  # fmt: skip
    found = []
    for pixels in batches:
        features = box.model.get_image_features(pixel_values=pixels.to(box.device, box.dtype, non_blocking=True))
        found.append(torch.nn.functional.normalize(features.pooler_output.float(), dim=-1))
    return torch.cat(found)


if __name__ == "__main__":
    main()
