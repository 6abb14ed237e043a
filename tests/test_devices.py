"""Devices without float64, as Apple's GPUs are: simulated in one process, which tells how every job went."""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

METHODS = ("proximal", "lcs-cma", "lcs-cma-paper", "bbt-cma", "ind-cma")
SEARCHES = {
    **{method: {"method": method} for method in METHODS},
    "names only": {"method": "lcs-cma", "classes": ["red", "green", "blue", "grey"]},
    "names only, with unlabelled images": {"method": "lcs-cma", "classes": ["red", "green"], "unlabelled": True},
    "many images": {"method": "proximal", "classes": ["red", *(f"class {n}" for n in range(39))], "shots": 7},
    "synonyms": {"method": "lcs-cma", "synonyms": {"red": ["crimson"]}},
}
EDITS = {"an edit": {}, "a strong edit": {"strength": 1.0, "keep": ["grey"]}}
USES = ("evaluate", "classify", "export", "evaluate both together", "export hardened", "bfloat16")
FAMILIES = ("metaclip_2", "siglip", "siglip2", "chinese_clip")
JOBS = (*SEARCHES, "a run folder", "a later request", *EDITS, *USES, "audit", "membership", *FAMILIES)
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, Any]:
    """Job -> what went wrong, or nothing; and what was `launched`."""
    folder = tmp_path_factory.mktemp("device")
    command = [sys.executable, __file__, str(folder)]
    paths = str(HERE.parent)
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0
    return json.loads((folder / "told.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("job", JOBS)
def test_on_a_device_without_float64_it_does_what_it_does_on_the_cpu(told, job):
    assert told[job] == ""


def test_all_that_runs_there_pytorch_can_do_on_apples_gpus(told):
    """By PyTorch's own list of operations: one for MPS, or made of others."""
    kernels = mps_kernels()
    names = (name.removeprefix("aten.").removesuffix(".default") for name in told["launched"])
    assert sorted(name for name in names if not kernels.get(name, name.startswith("prim."))) == []


def mps_kernels() -> dict[str, bool]:
    """Operation -> whether Apple's GPUs have it."""
    import torchgen
    import yaml

    listed = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    functions = yaml.load(listed.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    entries = {entry["func"].split("(")[0]: entry for entry in functions}

    def has(entry) -> bool:
        entry = entries[entry["structured_delegate"]] if "structured_delegate" in entry else entry
        keys = {key.strip() for joined in entry.get("dispatch", {"Composite": ""}) for key in joined.split(",")}
        return any(key == "MPS" or key.startswith("Composite") for key in keys)

    return {name: has(entry) for name, entry in entries.items()}


def main(folder: Path) -> None:
    from tests.support.simulated_device import launched, switched_on

    jobs = _Jobs(folder)
    found = {}
    with switched_on():
        for job in JOBS:
            try:
                jobs.do(job)
                found[job] = ""
            except Exception:
                found[job] = traceback.format_exc()
    found["launched"] = sorted(launched)
    (folder / "told.json").write_text(json.dumps(found), encoding="utf-8")


class _Jobs:
    """The library's jobs on a tiny CLIP, on the device and on the CPU."""

    def __init__(self, folder: Path) -> None:
        from hf_unlearn import ClipBlackBox, LabeledImages
        from tests.support.checkpoints import write_clip
        from tests.support.images import coloured

        self.folder, self.clip = folder, write_clip(folder / "clip", seed=3)
        self.images = coloured(6)
        cpu = ClipBlackBox(self.clip)
        known = cpu.zero_shot(cpu.add_images(coloured(8, 1)), coloured(1).names).argmax(-1).tolist()
        known[-2:] = 1, 1  # no class without an image
        self.known = LabeledImages.from_arrays(list(coloured(8, 1)), known, list(coloured(1).names))

    def on(self, device, **options):
        from hf_unlearn import ClipBlackBox

        return ClipBlackBox(self.clip, device=device, **options)

    def make(self, device, **options):
        """An adapter; the words held in place are given, as this model's tokenizer has none."""
        from hf_unlearn import unlearn

        common = {"forget": ["red"], "progress": False, "max_queries": 40, "shots": 2}
        if options.get("unlabelled"):
            options["unlabelled"] = list(self.images)
        if "method" in options:
            return unlearn(self.on(device), None if "classes" in options else self.images, **(common | options))
        return unlearn(self.on(device), forget=["red"], vocabulary=[f"word{n}" for n in range(60)], **options)

    def do(self, job: str) -> None:
        from tests.support.simulated_device import DEVICE

        if job in SEARCHES or job in EDITS:
            options = SEARCHES.get(job, EDITS.get(job))
            there, here = (self.make(device, **options) for device in (DEVICE, "cpu"))
            _check_alike(there, here)
        elif job in USES:
            self.use(job, DEVICE)
        elif job in FAMILIES:
            self.family(job, DEVICE)
        else:
            getattr(self, job.replace(" ", "_"))(DEVICE)

    def a_run_folder(self, device) -> None:
        from hf_unlearn.training.checkpoint import Checkpoint

        Checkpoint.is_due = lambda self: True  # this process is the job's own
        whole = self.make(device, method="lcs-cma")
        stopped = {"on_step": lambda step: step.queries >= 20, "run_dir": self.folder / "run"}
        self.make(device, method="lcs-cma", **stopped)
        resumed = self.make(device, method="lcs-cma", run_dir=self.folder / "run")
        assert resumed.adapter.config.weights_sha256 == whole.adapter.config.weights_sha256

    def a_later_request(self, device) -> None:
        first = self.make(device, method="lcs-cma")
        for init in (first, first.adapter):
            self.make(device, method="lcs-cma", init=init)

    def family(self, family: str, device) -> None:
        from hf_unlearn import ClipBlackBox
        from tests.support.families import write_family

        folder, scores = write_family(self.folder / family, family), []
        for where in (device, "cpu"):
            model = ClipBlackBox(folder, device=where)
            contexts = model.token_mean.expand(2, 3, model.dim)
            scores.append(model.log_scores(contexts, model.add_images(self.images), ["red", "green"]).tolist())
        _near(*scores)

    def audit(self, device) -> None:
        from hf_unlearn.auditing.auditor import audit

        for adapter in (self.make("cpu", method="lcs-cma").adapter, self.make("cpu").adapter):
            others = {"validation": self.known, "unlisted": self.known, "unlisted_validation": self.known}
            found = audit(self.on(device), adapter, self.known, **others, relearn_queries=9, progress=False)
            plain = self.answer("evaluate", adapter, "cpu")[0]
            assert found.content["metrics"]["rows"][0]["acc_mem"] == pytest.approx(plain["acc_mem"])

    def membership(self, device) -> None:
        from hf_unlearn.auditing.case import Case
        from hf_unlearn.auditing.membership import measure_membership

        case = Case(self.on(device), self.make("cpu", method="lcs-cma").adapter, self.known)
        found = measure_membership(case, self.known, models=4, queries=9)
        assert 0 <= found["auc_low"] <= found["auc"] <= found["auc_high"] <= 1

    def use(self, job: str, device) -> None:
        """Both kinds of adapter, used; figures as on the CPU."""
        for adapter in (self.make("cpu", method="lcs-cma").adapter, self.make("cpu").adapter):
            if job == "export hardened" and adapter.kind == "edit":
                continue
            answers = [self.answer(job, adapter, where) for where in (device, "cpu")]
            _near(*answers)

    def answer(self, job: str, adapter, device):
        import torch

        from hf_unlearn.adapters.adapted_clip import AdaptedClip
        from hf_unlearn.adapters.export.checkpoint import export
        from hf_unlearn.evaluation.evaluator import evaluate

        model = self.on(device, dtype=torch.bfloat16) if job == "bfloat16" else self.on(device)
        others = {"validation": self.known, "unlisted": self.known, "unlisted_validation": self.known}
        match job:
            case "evaluate":
                return evaluate(model, self.known, adapter, **others, synonyms={"red": ["crimson"]}).content["rows"]
            case "evaluate both together":
                edit = self.make("cpu").adapter
                return evaluate(model, self.known, [edit, adapter]).content["rows"]
            case "classify" | "bfloat16":
                adapted = AdaptedClip(model, adapter)
                shown = adapted.classify(list(self.images)[::6], ["red", "green"])
                return [
                    shown.tolist(),
                    adapted.text_features(["red"]).tolist(),
                    adapted.image_features([self.images[0]]).tolist(),
                ]
            case _:
                folder = self.folder / f"{job} {adapter.kind} {device}".replace(":", "")
                export(adapter.weights, adapter.config, model, folder, hardened="hardened" in job)
                return [(folder / "model.safetensors").stat().st_size]


def _check_alike(there, here) -> None:
    """An edit has the same numbers; a search, in which rounding grows, ends with about the same loss."""
    import torch

    from hf_unlearn.models.text_edit import tensors_of

    tensors = [tensors_of(result.adapter.weights) for result in (there, here)]
    assert all(tensor.device.type == "cpu" for tensor in tensors[0].values())
    if here.history:
        losses = [min(step.loss for step in result.history) for result in (there, here)]
        assert losses[0] == pytest.approx(losses[1], rel=0.2)
    else:
        assert all(torch.allclose(tensors[0][name], tensors[1][name], atol=1e-4) for name in tensors[1])


def _near(one, other) -> None:
    """Alike, numbers about."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = [one[key] for key in one], [other[key] for key in one]
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            _near(mine, theirs)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=0.02)
    else:
        assert one == other


if __name__ == "__main__":
    main(Path(sys.argv[1]))
