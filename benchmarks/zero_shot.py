"""Zero-shot figures of an emoji CLIP on the artists it never saw, drawings as they are.

    python benchmarks/zero_shot.py hf_unlearn/demo/clip --images runs/emoji-full.zip

Top-1 among all names of the full archive, among random sets of 100 and of 10 names (200 sets, the
same for every model), and on the kept classes of `moderation` among all its names.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from emoji_data import Drawings
from make_emoji_tasks import EVERYDAY, MODERATION
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoProcessor, CLIPModel

TEST_ARTISTS = ("twemoji", "openmoji")


def accuracy(features: Tensor, truth: Tensor, classes: Tensor, trials: int = 200) -> dict[str, float]:
    """Top-1 of `(n, dim)` image features against `(C, dim)` class features: all, 100-way, 10-way."""
    logits = features @ classes.T
    beats = logits > logits.gather(1, truth[:, None])
    figures = {"all": (~beats.any(1)).float().mean().item()}
    generator = torch.Generator(features.device).manual_seed(0)
    for ways in (100, 10):
        hits = []
        for _ in range(trials):
            chosen = torch.zeros(logits.shape[1], dtype=torch.bool)
            chosen[torch.randperm(logits.shape[1], generator=generator)[:ways]] = True
            hits.append((~(beats[chosen[truth]] & chosen).any(1)).float().mean())
        figures[f"{ways}-way"] = torch.stack(hits).nanmean().item()  # no mean where a trial has no drawing
    return {key: round(value, 4) for key, value in figures.items()}


@torch.no_grad()
def zero_shot(folder: Path, drawings: Drawings, artists: Sequence[str] = TEST_ARTISTS) -> dict[str, dict[str, float]]:
    """Figures by artist, judged on the folder as it was written."""
    device = torch.get_default_device()
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval().to(device)
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    names = [own[0] for own in drawings.names]
    inputs = tokenizer([f"This is a photo of {name}." for name in names], padding=True, return_tensors="pt").to(device)
    classes = F.normalize(model.get_text_features(**inputs).pooler_output, dim=-1)
    task = torch.tensor([names.index(name) for name in MODERATION["names"]])
    kept = torch.tensor([names.index(name) for name in EVERYDAY])
    figures = {}
    for artist in artists:
        features, truth = drawings.features(
            lambda pixels: model.get_image_features(pixel_values=pixels).pooler_output,
            (artist,),
            model.config.vision_config.image_size,
        )
        figures[artist] = accuracy(features, truth, classes)
        rows = torch.isin(truth, kept)
        guess = task[(features[rows] @ classes[task].T).argmax(1)]
        figures[artist]["moderation, kept"] = round((guess == truth[rows]).float().mean().item(), 4)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", type=Path, default=Path("runs/emoji-full.zip"))
    args = parser.parse_args()
    print(json.dumps(zero_shot(args.model, Drawings.load(args.images, TEST_ARTISTS)), indent=2))


if __name__ == "__main__":
    main()
