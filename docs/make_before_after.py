"""Draws docs/before-after.png: what the embedded CLIP sees in six test images, before and after an edit.

python docs/make_before_after.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from hf_unlearn import AdaptedClip, ClipBlackBox, LabeledImages, unlearn

PICTURE = Path(__file__).with_name("before-after.png")
FORGET, KEEP = ("beer mug", "wine glass", "dagger"), ("guitar", "pizza", "sailboat")
GREY, RED, BLUE = "#c8c8c8", "#e08e90", "#8fabd6"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "hf_unlearn.demo", "moderation", folder], check=True)
        images = LabeledImages.from_folder(Path(folder) / "test")
        chosen = [images[images.labels.index(images.names.index(name))].copy() for name in FORGET + KEEP]
    model = ClipBlackBox("embedded")
    adapted = AdaptedClip(model, unlearn(model, forget=FORGET).adapter)
    after = adapted.classify(chosen, images.names)
    with adapted.disabled() as plain:
        before = plain.classify(chosen, images.names)
    figure, axes = plt.subplots(3, len(chosen), figsize=(12, 4.3), height_ratios=(2.2, 1, 1), layout="constrained")
    for column, (name, image) in enumerate(zip(FORGET + KEEP, chosen, strict=True)):
        top = axes[0, column]
        top.imshow(image)
        top.axis("off")
        top.set_title("forget" if name in FORGET else "keep", color=RED if name in FORGET else BLUE, fontsize=13)
        for row, scores in ((1, before[column]), (2, after[column])):
            bars = axes[row, column]
            best = scores.topk(3)
            names = [images.names[int(index)] for index in best.indices]
            colours = [(RED if name in FORGET else BLUE) if each == name else GREY for each in names]
            bars.barh(range(3), best.values.tolist(), color=colours, height=0.85)
            for place, (label, value) in enumerate(zip(names, best.values.tolist(), strict=True)):
                bars.text(0.03, place, f"{label}  {100 * value:.0f} %", va="center", fontsize=10)
            bars.set(xlim=(0, 1), ylim=(2.6, -0.6), xticks=[], yticks=[])
            bars.spines[["top", "right", "bottom"]].set_visible(False)
    for row, word in ((1, "before"), (2, "after")):
        axes[row, 0].set_ylabel(word, fontsize=13)
    figure.suptitle(f"the embedded CLIP, 60 names; forgotten: {', '.join(FORGET)}", fontsize=13)
    figure.text(0.995, 0.003, "drawings: Twemoji, CC BY 4.0", ha="right", fontsize=7, color="grey")
    figure.savefig(PICTURE, dpi=110)
    colours = Image.open(PICTURE).convert("RGB").quantize(96)  # a palette: a small file
    colours.save(PICTURE, optimize=True)
    print(f"{PICTURE}: {np.round(before.max(-1).values.tolist(), 2)}, {np.round(after.max(-1).values.tolist(), 2)}")


if __name__ == "__main__":
    main()
