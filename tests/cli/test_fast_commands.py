"""Commands that only read or share adapters, and every --help, load neither torch nor transformers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from hf_unlearn import ForgetAdapter
from hf_unlearn.adapters.report_plot import is_picture_of
from hf_unlearn.adapters.stored_adapter import StoredAdapter
from hf_unlearn.adapters.weights import EDIT, digest_weights
from hf_unlearn.models.text_edit import digest
from tests.support.edited import edit_adapter

SHIPPED = Path(__file__).parents[2] / "space" / "adapters" / "weapons"
SLOW = ("torch", "transformers", "accelerate", "sklearn", "matplotlib")
CODE = """
import sys
from hf_unlearn.cli.main import main
try:
    main()
finally:
    print([name for name in {slow} if name in sys.modules], file=sys.stderr)
"""


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", CODE.format(slow=SLOW), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    "words",
    [
        *([name, "--help"] for name in ("forget", "audit", "evaluate", "export", "combine", "without", "demo")),
        *([name, "--help"] for name in ("push", "pull", "list", "info")),
        ["--help"], ["info", SHIPPED], ["info", SHIPPED, "--json"],
    ],
    ids=lambda words: " ".join(map(str, words))[:20],
)  # fmt: skip
def test_help_and_info_load_nothing_slow(words):
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "[]\n")


@pytest.mark.parametrize(
    "damage",
    [
        lambda up: up * 2,
        lambda up: up[:, :1],
        lambda up: np.where(up == up.max(), np.nan, up),
        lambda up: up.astype(np.float16),
    ],
    ids=["digest", "shape", "not finite", "type"],
)
def test_info_refuses_weights_that_are_not_those_of_the_config(clip, tmp_path, damage):
    edit_adapter(clip, seed=3).save_pretrained(tmp_path)
    weights = load_file(tmp_path / EDIT)
    save_file(weights | {"up": np.ascontiguousarray(damage(weights["up"]))}, tmp_path / EDIT)
    done = run("info", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_numpy_and_torch_agree_on_digest_and_bytes(clip, tmp_path):
    from safetensors.torch import save

    adapter = edit_adapter(clip, seed=3)
    adapter.save_pretrained(tmp_path)
    stored = StoredAdapter.read(tmp_path)
    assert digest_weights(stored.weights) == digest(adapter.weights) == adapter.config.weights_sha256
    assert (tmp_path / EDIT).read_bytes() == save(adapter.weights.tensors())


def test_the_picture_is_drawn_when_the_report_is_saved_and_reused_only_for_that_report(tmp_path):
    ForgetAdapter.from_pretrained(SHIPPED).save_pretrained(tmp_path)
    stored = StoredAdapter.read(tmp_path)
    assert is_picture_of(stored.picture, stored.report)
    assert stored.files()["report.png"] is stored.picture
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    report["images"]["kind"] = "other"
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    later = StoredAdapter.read(tmp_path)
    assert later.files()["report.png"] != later.picture
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.format == "PNG"
