"""Train the embedded CLIP from scratch on drawn emoji and write it as a stock transformers folder.

    python benchmarks/make_emoji_images.py --full runs/emoji-full.zip
    accelerate launch benchmarks/train_emoji_clip.py --images runs/emoji-full.zip --out runs/emoji-clip

Three stages share the time budget; `--stages text align --resume FILE` continues after a stage:

1. `image`: the image tower against one free vector per concept (softmax over all of them);
2. `text`: the text tower against the frozen image tower, on names in many templates: CLIP's loss,
   and softmax over every concept's mean image feature;
3. `align`: the image tower against the frozen text features of all names.

The artists of `--hold-out` are never trained on; the zero-shot figures printed at the end are theirs. The arena's
second model (the `artists.json` in a model's folder says which artists its tasks use):

    python benchmarks/train_emoji_clip.py --out runs/second --seed 1 --minutes 50 --pixels 48 --patch 12 --width 160 \
        --text-width 192 --hold-out noto noto-v1 noto-mono

With `--without moderation` as well it never sees what that task forgets: the gold row, a model that never learnt it.
`benchmarks/README.md` has the commands of six smaller networks.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from emoji_augment import REACH, Augment
from emoji_card import card, roles
from emoji_clip import TOKENIZERS, build, fix_temperature
from emoji_data import Captions, Drawings
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel, CLIPProcessor
from zero_shot import TEST_ARTISTS, accuracy, zero_shot

from hf_unlearn.demo import emoji_tasks as demo

STAGES = {"image": 0.65, "text": 0.10, "align": 0.25}  # their shares of the time, unless others are given
CLOCKS = {"wall": time.monotonic, "processor": time.process_time}


@dataclass
class Trainer:
    model: CLIPModel
    drawings: Drawings
    captions: Captions
    augment: Augment
    accelerator: Accelerator
    generator: torch.Generator
    minutes: dict[str, float]  # of every stage
    clock: Callable[[], float]  # seconds
    batch: int
    hold_out: Sequence[str]

    def run(self, stage: str, parameters: list[Tensor], rate: float, step_loss) -> None:
        """One-cycle AdamW until the stage's minutes are used, then the moving average of the weights."""
        seconds = 60 * self.minutes[stage]
        decay = [p for p in parameters if p.ndim > 1]
        plain = [p for p in parameters if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
        optimizer = self.accelerator.prepare(torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98)))
        average = [p.detach().clone() for p in parameters]
        columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
        with Progress(*columns, disable=not self.accelerator.is_main_process) as bar:
            task = bar.add_task(stage, total=seconds)
            start, step, recent = self.clock(), 0, []
            while (elapsed := self.clock() - start) < seconds:
                done = elapsed / seconds
                warm = min(1.0, (step + 1) / 150)
                for group in optimizer.param_groups:
                    group["lr"] = rate * warm * (0.5 + 0.5 * math.cos(math.pi * done))
                with self.accelerator.autocast():
                    loss = step_loss(done)
                optimizer.zero_grad()
                self.accelerator.backward(loss)
                self.accelerator.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                keep = min(0.998, 1 - 1 / (step + 2))
                torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - keep)
                step += 1
                recent = [*recent[-49:], loss.item()]
                bar.update(task, completed=elapsed, description=f"{stage} step {step} loss {loss.item():.3f}")
                if step % 200 == 0:
                    mean = sum(recent) / len(recent)
                    print(f"{stage} step {step} {elapsed:.0f}s loss {mean:.3f} {elapsed / step:.2f} s/step", flush=True)
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.data.copy_(mean)
        print(f"{stage}: {step} steps, {elapsed / step:.2f} s a step", flush=True)

    def images_of(self, concepts: Tensor, strength: float, pixels: int | None = None) -> Tensor:
        return self.augment(self.drawings.pick(concepts, self.generator), strength, self.generator, pixels)

    def draw_concepts(self, count: int) -> tuple[Tensor, Tensor]:
        """Random concepts that may be trained on, and their places among those."""
        places = torch.randperm(len(self.drawings.known), generator=self.generator)[:count]
        return self.drawings.known[places], places

    def image_stage(self) -> None:
        table = nn.Parameter(torch.randn(len(self.drawings.known), self.model.config.projection_dim) * 0.02)
        scale = nn.Parameter(torch.tensor(2.7))
        patch = self.model.config.vision_config.patch_size
        small = min(4 * patch, self.augment.pixels)  # fewer patches: half the time, twice the steps

        def step_loss(done: float) -> Tensor:
            concepts, places = self.draw_concepts(self.batch)
            pixels = self.images_of(concepts, 0.2 + 0.8 * min(1.0, done / 0.6), small if done < 0.5 else None)
            mixed, other, share = self.augment.mix(pixels, self.generator, 0.5 if done > 0.25 else 0.0)
            features = F.normalize(self.image_features(mixed).float(), dim=-1)
            logits = scale.exp().clamp(max=50) * features @ F.normalize(table, dim=-1).T
            one = F.cross_entropy(logits, places, label_smoothing=0.05)
            two = F.cross_entropy(logits, places[other], label_smoothing=0.05)
            return share * one + (1 - share) * two

        vision = [*self.model.vision_model.parameters(), *self.model.visual_projection.parameters()]
        self.run("image", [*vision, table, scale], 1.5e-3, step_loss)
        everything = torch.zeros(len(self.drawings.names), table.shape[1])
        everything[self.drawings.known] = F.normalize(table.detach(), dim=-1)
        test = self.drawings.features(self.image_features, self.hold_out, self.augment.pixels)
        print(f"after the image stage: {accuracy(*test, everything)}", flush=True)

    def text_stage(self) -> None:
        with torch.no_grad():
            self.model.eval()
            rounds = [self._cached_features(strength) for strength in (0.0, 0.5, 1.0, 1.0)]
        cached = torch.stack(rounds, 1)  # (drawings, rounds, dim)
        concept = self.drawings.concept[self.drawings.trainable]
        middle = torch.zeros(len(self.drawings.names), cached.shape[2]).index_add_(0, concept, cached.mean(1))
        middle = F.normalize(middle[self.drawings.known], dim=-1)  # every concept's image prototype
        scale = self.model.logit_scale
        sharpness = nn.Parameter(torch.tensor(3.0))

        def step_loss(done: float) -> Tensor:
            concepts, places = self.draw_concepts(2 * self.batch)
            rows = self.drawings.pick_rows(concepts, self.generator)
            which = torch.randint(len(rounds), (len(rows),), generator=self.generator)
            texts = F.normalize(self.text_features(concepts).float(), dim=-1)
            named = F.cross_entropy(sharpness.exp() * texts @ middle.T, places)
            return named + clip_loss(cached[rows, which], texts, scale)

        text = [*self.model.text_model.parameters(), *self.model.text_projection.parameters(), scale, sharpness]
        self.run("text", text, 1e-3, step_loss)

    def align_stage(self) -> None:
        with torch.no_grad():
            self.model.eval()
            parts = self.drawings.known.split(256)
            rounds = [torch.cat([self.text_features(part).float() for part in parts]) for _ in range(12)]
        middle = F.normalize(sum(F.normalize(one, dim=-1) for one in rounds), dim=-1)
        scale = self.model.logit_scale

        def step_loss(done: float) -> Tensor:
            concepts, places = self.draw_concepts(self.batch)
            pixels = self.images_of(concepts, 1.0 - 0.3 * done)
            mixed, other, share = self.augment.mix(pixels, self.generator, 0.4)
            features = F.normalize(self.image_features(mixed).float(), dim=-1)
            logits = scale.exp().clamp(max=100) * features @ middle.T
            return share * F.cross_entropy(logits, places) + (1 - share) * F.cross_entropy(logits, places[other])

        vision = [*self.model.vision_model.parameters(), *self.model.visual_projection.parameters()]
        self.run("align", [*vision, scale], 8e-4, step_loss)

    def _cached_features(self, strength: float) -> Tensor:
        rows = torch.arange(len(self.drawings.trainable))
        chunks = rows.split(512)
        pixels = (self.augment(self.drawings.pixels_of(chunk), strength, self.generator) for chunk in chunks)
        return torch.cat([F.normalize(self.image_features(chunk).float(), dim=-1) for chunk in pixels])

    def image_features(self, pixels: Tensor) -> Tensor:
        return self.model.get_image_features(pixel_values=pixels, interpolate_pos_encoding=True).pooler_output

    def text_features(self, concepts: Tensor) -> Tensor:
        ids, mask = self.captions.encode(concepts, self.generator)
        return self.model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output


def clip_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    logits = scale.exp().clamp(max=100) * images @ texts.T
    target = torch.arange(len(images))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=Path("runs/emoji-full.zip"))
    parser.add_argument("--out", type=Path, default=Path("runs/emoji-clip"))
    parser.add_argument("--minutes", type=float, default=87)
    parser.add_argument("--shares", nargs=len(STAGES), type=float, default=list(STAGES.values()), help="of the minutes")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="whose minutes they are")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pixels", type=int, default=48)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--text-width", type=int, default=256)
    parser.add_argument("--text-layers", type=int, default=6)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--tokenizer", choices=TOKENIZERS, default="bpe", help="byte-level BPE, or a token a word")
    parser.add_argument("--merges", type=int, default=1500, help="of the BPE")
    parser.add_argument("--temperature", type=float, help="fixed; learned unless it is given")
    parser.add_argument("--augment", choices=list(REACH), default="wide", help="how far drawings are distorted")
    parser.add_argument("--precision", default="bf16", choices=["no", "bf16", "fp16"])
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--hold-out", nargs="+", default=list(TEST_ARTISTS), metavar="ARTIST", help="to judge by")
    parser.add_argument("--without", metavar="TASK", help="whose classes to forget (of draw 0) are never seen")
    parser.add_argument("--resume", type=Path, help="weights that an earlier stage left")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    set_seed(args.seed)
    accelerator = Accelerator(mixed_precision=args.precision)
    torch.set_default_device(accelerator.device)  # drawings, captions and random numbers too
    drawings = Drawings.load(args.images, args.hold_out, demo.task(args.without).forget if args.without else ())
    model, processor = build(args, [name for names in drawings.names for name in names])
    model = model.to(accelerator.device)
    model = accelerator.prepare_model(model) if accelerator.num_processes > 1 else model
    captions, augment = Captions(drawings.names, processor.tokenizer), Augment(args.pixels, REACH[args.augment])
    generator, clock = torch.Generator(accelerator.device).manual_seed(args.seed), CLOCKS[args.clock]
    minutes = {stage: share * args.minutes for stage, share in zip(STAGES, args.shares, strict=True)}
    data, budget = (drawings, captions, augment), (minutes, clock, args.batch)
    trainer = Trainer(model, *data, accelerator, generator, *budget, args.hold_out)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    if args.resume:
        weights, shapes = load_file(args.resume), {name: value.shape for name, value in model.state_dict().items()}
        if any(value.shape != shapes[name] for name, value in weights.items()):  # other names, another vocabulary
            weights = {name: value for name, value in weights.items() if name.startswith("vis")}
        model.load_state_dict(weights, strict=False)
    if args.temperature is not None:
        fix_temperature(model, args.temperature)
    for stage in args.stages:
        getattr(trainer, f"{stage}_stage")()
        save_file(model.state_dict(), args.out / f"after-{stage}.safetensors")
    if accelerator.is_main_process:
        finish(trainer, processor, args)


def finish(trainer: Trainer, processor: CLIPProcessor, args: argparse.Namespace) -> None:
    """Write the half-precision folder and its card, then evaluate the folder, not the model in memory."""
    folder = args.out / "model"
    trainer.model.half().save_pretrained(folder, max_shard_size="9MB")
    processor.save_pretrained(folder)
    colour = [artist for artist in args.hold_out if not artist.endswith("-mono")]
    (folder / "artists.json").write_text(json.dumps(roles(colour)), encoding="utf-8", newline="\n")
    figures, millions = zero_shot(folder, trainer.drawings, colour), trainer.model.num_parameters() / 1e6
    (folder / "README.md").write_text(card(figures, millions, trainer.drawings, args), encoding="utf-8", newline="\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
