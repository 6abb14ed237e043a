"""Seconds per candidate context: ours beside two peers, on randomly initialized models of CLIP's shapes.

    python benchmarks/speed.py --json runs/speed.json        # everything; about 40 minutes on 2 cores
    python benchmarks/speed.py --quick --json -              # ViT-B/16, 10 and 100 classes; about two minutes

Cost depends on shapes alone, so no checkpoint is needed; class names are those of CIFAR and ImageNet
as token ids of CLIP's tokenizer (`clip_tokens.json`), template `{}.`.

- peer A, the paper's procedure: every candidate encodes all images, text padded to 77 tokens. It
  encodes a few images, and their time is scaled to all (`peer_a_images_measured`).
- peer B: images cached, text padded to 77 tokens through transformers with SDPA, one candidate at a time.
- peer C, on a GPU: the same, all candidates of a call batched: the most that an afternoon's work would give.
- ours: `ClipBlackBox.log_scores`, populations of 20.

All in one process, taking turns, same threads and precision. `flop_ratio_b` is peer B's arithmetic over
ours, `gemm_share` the share of a large matrix product's speed that ours reaches, counting only tokens
that must be computed. On a CPU every row runs in a process of its own, for its peak memory.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

TOKENS = Path(__file__).with_name("clip_tokens.json")
BOS, EOS, WORDS = 49406, 49407, 49408
SHAPES = {  # text width, heads; image width, layers, heads, patch; projection
    "ViT-B/32": (512, 8, 768, 12, 12, 32, 512),
    "ViT-B/16": (512, 8, 768, 12, 12, 16, 512),
    "ViT-L/14": (768, 12, 1024, 24, 16, 14, 768),
}
PROTOCOLS = {  # class names, how many, m, images (training and validation together)
    "cifar10": ("cifar10", 10, 4, 320),
    "cifar100": ("cifar100", 100, 16, 800),
    "200": ("imagenet", 200, 16, 400),
    "imagenet": ("imagenet", 1000, 16, 8_000),
}
POPULATION = 20


@dataclass
class Row:
    shape: str
    classes: int
    n_ctx: int
    images: int
    dtype: str
    device: str
    peer_a_s: float | None
    peer_a_images_measured: int
    peer_b_s: float | None
    peer_c_s: float | None
    ours_s: float
    flop_ratio_b: float
    gemm_share: float
    peak_mb: float
    max_rel_error: float | None
    argmax_agreement: float | None


def write_model(shape: str, folder: Path) -> None:
    """A random CLIP whose tokenizer reads "12 345" as the ids 12 and 345."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast

    width, heads, image_width, image_layers, image_heads, patch, projection = SHAPES[shape]
    vocabulary = {str(number): number for number in range(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [(str(BOS), BOS), (str(EOS), EOS)]
    words.post_processor = processors.TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=ends)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=str(BOS), eos_token=str(EOS), pad_token=str(EOS), model_max_length=77
    )
    text = {
        "hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": heads, "num_hidden_layers": 12,
        "vocab_size": WORDS, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": EOS,
    }  # fmt: skip
    vision = {
        "hidden_size": image_width, "intermediate_size": 4 * image_width, "num_hidden_layers": image_layers,
        "num_attention_heads": image_heads, "patch_size": patch, "image_size": 224,
    }  # fmt: skip
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection))
    model.save_pretrained(folder)
    CLIPProcessor(image_processor=CLIPImageProcessorPil(), tokenizer=tokenizer).save_pretrained(folder)


def names_of(protocol: str) -> list[str]:
    """Class names as the stand-in tokenizer reads them; the "." of the template is in them."""
    source, count, _, _ = PROTOCOLS[protocol]
    return [" ".join(map(str, ids)) for ids in json.loads(TOKENS.read_text(encoding="utf-8"))[source][:count]]


def measure(folder: Path, shape: str, protocol: str, dtype: str, args: argparse.Namespace) -> Row:
    import torch
    from torch.nn import functional as F

    from hf_unlearn.models.black_box import ImageSet
    from hf_unlearn.models.clip import ClipBlackBox
    from hf_unlearn.models.prefix_tower import PrefixTower
    from hf_unlearn.training.scoring import micro_batch

    device, peers, seconds = args.device, not args.no_peers, args.seconds
    _, classes, n_ctx, images = PROTOCOLS[protocol]
    images = args.images or images
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    precision = torch.float32 if dtype == "tf32" else getattr(torch, dtype)
    box = ClipBlackBox(str(folder), template="{}", dtype=precision, device=device)
    names, generator = names_of(protocol), torch.Generator().manual_seed(0)
    contexts = box.token_mean + 0.02 * torch.randn(POPULATION, n_ctx, box.dim, generator=generator)
    features = torch.randn(images, box.model.config.projection_dim, generator=generator)
    handle = ImageSet(F.normalize(features, dim=-1).to(box.device))
    padded = pad_to_77(box, names, n_ctx)
    pixels = torch.randn(16, 3, 224, 224, generator=generator).to(box.device, box.model.dtype)

    def ours() -> float:
        parts = contexts.split(micro_batch(POPULATION, classes, box.calls, box.prompts_at_once))
        return timed(lambda: [box.log_scores(part, handle, names) for part in parts], device) / POPULATION

    def peer_b() -> float:
        return timed(lambda: padded(contexts[:1].to(box.device, box.model.dtype)), device)

    def peer_c() -> float:
        return timed(lambda: padded(contexts.to(box.device, box.model.dtype)), device) / POPULATION

    def encode() -> float:
        with torch.no_grad():
            return timed(lambda: box.model.get_image_features(pixel_values=pixels), device)

    def product() -> float:
        size = 2048 if device == "cpu" else 8192
        left = torch.randn(size, size, dtype=box.model.dtype, device=box.device)
        return 2 * size**3 / timed(lambda: left @ left, device)

    with torch.no_grad():
        ours(), ours(), product()  # warm, and the GPU's graph captured
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        times: dict[str, list[float]] = {"ours": [], "peak": [], "b": [], "c": [], "images": []}
        start = time.monotonic()
        while not times["ours"] or time.monotonic() - start < seconds:
            times["ours"].append(ours())
            times["peak"] += [product() for _ in range(3)]
            if peers and (not times["b"] or time.monotonic() - start < seconds):
                times["b"].append(peer_b())
                times["images"].append(encode())
            if peers and device != "cpu" and (not times["c"] or time.monotonic() - start < seconds):
                times["c"].append(peer_c())
        error = agreement = None
        if peers:
            few = padded(contexts[:1].to(box.device, box.model.dtype))
            mine = box.text_features(contexts[:1], names)[0]
            error = float(((mine - few).norm(dim=-1) / few.norm(dim=-1)).max())
            agreement = float(
                ((handle.features @ mine.T).argmax(1) == (handle.features @ few.T).argmax(1)).float().mean()
            )
    tower = PrefixTower(box.model.text_model, [[BOS, *map(int, name.split()), EOS] for name in names])
    must, all_of_it = flops(tower, box.dim, n_ctx), 77 * classes * 12 * (24 * box.dim**2 + 4 * 77 / 2 * box.dim)
    ours_s = statistics.median(times["ours"])
    b, c = (statistics.median(times[peer]) if times[peer] else None for peer in "bc")
    encoded = statistics.median(times["images"]) / len(pixels) * images if peers else None
    if device == "cpu":
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    else:
        peak_mb = torch.cuda.max_memory_allocated() / 2**20
    return Row(
        shape, classes, n_ctx, images, dtype, device, None if b is None else b + encoded, len(pixels), b, c,
        ours_s,        all_of_it / must, must / ours_s / max(times["peak"]), peak_mb, error, agreement,
    )  # fmt: skip


def pad_to_77(box, names: list[str], n_ctx: int):
    """Every class's whole prompt through transformers, a hook puts the contexts in: unit features `(P * C, width)`."""
    import torch
    from torch.nn import functional as F

    rows = [[BOS, *[0] * n_ctx, *map(int, name.split()), EOS] for name in names]
    ids = torch.tensor([row + [EOS] * (77 - len(row)) for row in rows], device=box.device)
    mask = torch.tensor([[1] * len(row) + [0] * (77 - len(row)) for row in rows], device=box.device)
    at_once = 100 if box.device.type == "cpu" else 2_000  # prompts, as caches like or memory allows

    def features(contexts):
        whose = torch.arange(len(contexts), device=box.device).repeat_interleave(len(rows)).split(at_once)
        which = torch.arange(len(rows), device=box.device).repeat(len(contexts)).split(at_once)
        now = {}

        def put(module, args, output):
            return torch.cat([output[:, :1], contexts[now["whose"]], output[:, 1 + n_ctx :]], 1)

        hook, found = box.model.text_model.get_input_embeddings().register_forward_hook(put), []
        try:
            for now["whose"], one in zip(whose, which, strict=True):
                found.append(box.model.get_text_features(input_ids=ids[one], attention_mask=mask[one]).pooler_output)
        finally:
            hook.remove()
        return F.normalize(torch.cat(found).float(), dim=-1)

    return features


def flops(tower, dim: int, n_ctx: int) -> float:
    """Multiplications and additions that one candidate's text features cannot do without."""
    prefix, layers = tower.common + n_ctx, 12
    whole, keys_and_values = 24 * dim**2, 4 * dim**2
    total = prefix * ((layers - 1) * (whole + 2 * prefix * dim) + keys_and_values)
    forest = tower.forest
    padding = forest.ids.numel() - forest.nodes
    seen = int(forest.sees.sum()) - padding + prefix * forest.nodes
    total += forest.nodes * ((layers - 1) * whole + keys_and_values) + (layers - 1) * 4 * dim * seen
    total += len(forest.prompts.unique()) * (whole - keys_and_values + 4 * dim * (prefix + 4))
    return total


def timed(work, device: str) -> float:
    import torch

    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--protocols", nargs="+", choices=list(PROTOCOLS), default=list(PROTOCOLS))
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=["float32", "tf32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=30, help="to spend on each row")
    parser.add_argument("--images", type=int, help="so many images in place of the protocols' own")
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--quick", action="store_true", help="ViT-B/16 at 10 and 100 classes")
    parser.add_argument("--json", metavar="FILE", help="also write the rows there; - prints them and nothing else")
    parser.add_argument("--row", nargs=4, help=argparse.SUPPRESS)  # folder, shape, protocol, dtype: in its own process
    args = parser.parse_args()
    if args.row:
        folder, shape, protocol, dtype = args.row
        print(json.dumps(asdict(measure(Path(folder), shape, protocol, dtype, args))))
        return
    if args.device != "cpu":
        import torch

        if not torch.cuda.is_available():
            parser.error(f"--device {args.device}: this PyTorch sees no CUDA device")
    if args.quick:
        args.shapes, args.protocols = ["ViT-B/16"], ["cifar10", "cifar100"]
    rows: list[dict] = []
    for row in run(args):
        rows.append(row)
        if args.json and args.json != "-":  # what is measured is not lost
            Path(args.json).parent.mkdir(parents=True, exist_ok=True)
            Path(args.json).write_text(json.dumps({"rows": rows}, indent=2) + "\n", encoding="utf-8", newline="\n")
    if args.json == "-":
        print(json.dumps({"rows": rows}))
    else:
        show(rows)


def run(args: argparse.Namespace):
    for shape in args.shapes:
        with tempfile.TemporaryDirectory() as folder:
            write_model(shape, Path(folder))
            for protocol in args.protocols:
                for dtype in args.dtypes:
                    if args.device != "cpu":
                        yield asdict(measure(Path(folder), shape, protocol, dtype, args))
                        continue
                    own = ["--row", folder, shape, protocol, dtype, "--device", args.device]
                    own += ["--seconds", str(args.seconds)] + ["--no-peers"] * args.no_peers
                    own += ["--images", str(args.images)] if args.images else []
                    print(f"{shape} {protocol} {dtype} …", file=sys.stderr, flush=True)
                    done = subprocess.run([sys.executable, __file__, *own], stdout=subprocess.PIPE, check=True)
                    yield json.loads(done.stdout)


def where() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(0)}, PyTorch {torch.__version__}"
    return f"{torch.get_num_threads()} CPU threads, PyTorch {torch.__version__}"


def show(rows: list[dict]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"milliseconds per candidate, {where()}", title_justify="left")
    heads = ("shape", "classes", "m", "dtype", "peer A", "peer B", "peer C", "ours", "A / ours", "B / ours", "C / ours",
             "FLOPs B / ours", "GEMM share", "cand./s", "peak MB", "rel. error", "arg-max")  # fmt: skip
    for head in heads:
        table.add_column(head, justify="left" if head in ("shape", "dtype") else "right")
    for row in rows:
        peers = [row[f"peer_{peer}_s"] for peer in "abc"]
        own = row["ours_s"]
        table.add_row(
            row["shape"], str(row["classes"]), str(row["n_ctx"]), row["dtype"],
            *(f"{1e3 * peer:,.4g}" if peer else "–" for peer in (*peers, own)),
            *(f"{peer / own:,.3g}" if peer else "–" for peer in peers), f"{row['flop_ratio_b']:.1f}",
            f"{row['gemm_share']:.0%}", f"{1 / own:,.1f}", f"{row['peak_mb']:,.0f}",
            f"{row['max_rel_error']:.0e}" if row["max_rel_error"] is not None else "–",
            f"{row['argmax_agreement']:.1%}" if row["argmax_agreement"] is not None else "–",
        )  # fmt: skip
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
