"""What is written beside a trained emoji CLIP: its card, and which artists its tasks use."""

import argparse

import torch
from emoji_data import Drawings

from hf_unlearn.demo import emoji_tasks as demo


def roles(test: list[str]) -> dict[str, list[str]]:
    """Which artists' drawings a task on this model trains, validates and tests on: `demo.ARTISTS` for the default."""
    everyone = [artist for own in demo.ARTISTS.values() for artist in own]
    validation = list(demo.ARTISTS["validation"])
    return {
        "train": [artist for artist in everyone if artist not in (*validation, *test)],
        "validation": validation,
        "test": test,
    }


def card(figures: dict[str, dict[str, float]], millions: float, drawings: Drawings, args: argparse.Namespace) -> str:
    kinds = list(next(iter(figures.values())))
    rows = [["artist", *kinds], ["---"] * (len(kinds) + 1)]
    rows += [[artist, *(f"{100 * own[kind]:.1f} %" for kind in kinds)] for artist, own in figures.items()]
    return CARD.format(
        millions=millions,
        drawings=len(drawings.trainable),
        names=len(drawings.known),
        threads=torch.get_num_threads(),
        held_out=", ".join(args.hold_out),
        kept_temperature=f"{args.temperature:g}" if args.temperature is not None else "learned",
        table="\n".join(f"| {' | '.join(row)} |" for row in rows),
        **vars(args),
    )


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
---

# A small CLIP that knows emoji

A stock `CLIPModel` of {millions:.1f} M parameters, {pixels}-pixel images in patches of {patch}, trained from
scratch on {drawings:,} drawings of {names:,} emoji by `benchmarks/train_emoji_clip.py` in {minutes:.0f}
minutes on {threads} CPU core(s) (seed {seed}; tokenizer: {tokenizer}, temperature: {kept_temperature}, augmentation:
{augment}). It is the test bed of hf_unlearn: real enough to forget, small enough to ship. It knows drawn emoji and
nothing else.

{held_out} were never trained on. Zero-shot top-1 on their drawings as they are, prompt
"This is a photo of {{}}.", among all {names:,} names, random sets of 100 and of 10, and on the kept classes
of the `moderation` task (`benchmarks/zero_shot.py` prints them):

{table}

Artists and licences of the drawings: `../LICENCES.md`. Also trained on, unless held out, three monochrome
sets: `emojione-monotone` (CC BY 4.0), `fluent-emoji-high-contrast` (MIT), the Noto Emoji font (OFL 1.1).
"""
