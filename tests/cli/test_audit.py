"""The command `hf-unlearn audit`: its exit codes, and what it prints and saves."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from hf_unlearn import ForgetAdapter, LabeledImages, unlearn
from hf_unlearn.cli.main import main
from hf_unlearn.models.text_edit import TextEdit, digest
from tests.support.command_line import strict_json
from tests.support.images import COLOURS, coloured


@pytest.fixture(scope="module")
def work(tmp_path_factory, clip, clip_folder):
    """A folder of images whose forget classes the tiny random CLIP happens to know, and an adapter for them."""
    root = tmp_path_factory.mktemp("audit")
    images = coloured(10)
    scores = clip.zero_shot(clip.add_images(images), images.names)
    labels = scores.argmax(-1)
    shares = {label: int((labels == label).sum()) for label in range(4)}
    best = max(shares, key=lambda label: shares[label])
    # name the colours so that the favourite name belongs to the colour it is most often given to
    owner = max(range(4), key=lambda own: int(((labels == best) & (torch.tensor(images.labels) == own)).sum()))
    names_of = list(images.names)
    names_of[owner], names_of[best] = names_of[best], names_of[owner]
    images = LabeledImages(images.items, images.labels, tuple(names_of))
    for number, image in enumerate(images):
        path = root / "images" / images.names[images.labels[number]]
        path.mkdir(parents=True, exist_ok=True)
        image.save(path / f"{number}.png")
    forget = [list(COLOURS)[best]]
    adapter = unlearn(clip, images, forget=forget, max_queries=20, shots=3, progress=False).adapter
    adapter.save_pretrained(root / "adapter")
    context = clip.token_mean[None] * 0
    config = replace(adapter.config, n_ctx=1, weights_sha256=digest(context))
    ForgetAdapter(context, config).save_pretrained(root / "idle")
    edit = TextEdit(torch.zeros(24, 1), torch.zeros(1, 24))  # one that changes nothing
    shape = {"n_ctx": None, "dim": None, "kind": "edit", "width": 24, "rank": 1}
    config = replace(adapter.config, **shape, retain=[], method="edit", weights_sha256=digest(edit), few_shot_digest={})
    ForgetAdapter(edit, config).save_pretrained(root / "edit")
    return SimpleNamespace(root=root, model=clip_folder, data=root / "images")


LOOSE = [
    item for name in ("forget", "attack", "recoverability", "retain-drop", "class-drop", "collateral")
    for item in (f"--max-{name}", "1")
]  # fmt: skip


def run(capsys, *arguments):
    """The command in this process: exit code, stdout, stderr."""
    before, code = sys.argv, 0
    sys.argv = ["hf-unlearn", "audit", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = before
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_passes_with_exit_code_0_and_saves(work, tmp_path):
    options = ["--adapter", work.root / "adapter", "--data", work.data, "--model", work.model, "--json", *LOOSE]
    command = [
        sys.executable,
        "-m",
        "hf_unlearn",
        "audit",
        *options,
        "--relearn-queries",
        "20",
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    content = strict_json(done.stdout)
    assert content["verdict"] == "pass"
    assert {"verdict", "metrics", "attacks"} <= set(content)
    assert content["metrics"]["feature_probe"] is None  # one forgotten class: nothing to tell apart
    assert strict_json((tmp_path / "out" / "audit.json").read_text()) == content


def test_the_command_fails_an_idle_context_with_exit_code_1(work, capsys):
    code, printed, _ = run(
        capsys, "--adapter", work.root / "idle", "--data", work.data, "--model", work.model, "--relearn-queries", 20,
        "--max-forget", 0,
    )  # fmt: skip
    assert code == 1
    assert "verdict: FAIL" in printed
    assert "suppression behind a prompt" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--adapter", "nowhere"], "no such folder"),
        (["--adapter", "{adapter}"], "--data FOLDER"),
        (["--adapter", "{adapter}", "--data", "nowhere"], "no such folder"),
        (["--adapter", "{adapter}", "--validation", "x"], "--validation goes with --data"),
        (["--adapter", "{adapter}", "--data", "{data}", "--groups", "nowhere"], "no such file"),
        (["--adapter", "{adapter}", "--data", "{data}", "--groups", "{list}"], "expected a JSON object"),
        (["--adapter", "{adapter}", "--data", "{data}", "--groups", "{words}"], "expected text for 'red'"),
        (["--adapter", "{adapter}", "--data", "{data}", "--words", "{groups}"], "must be an object"),
        (["--adapter", "{adapter}", "--data", "{data}", "--groups", "professions"], "is no class of the adapter"),
        (["--adapter", "{adapter}", "--data", "{data}", "--max-epsilon", "1"], "needs --membership"),
        (["--adapter", "{adapter}", "--data", "{data}", "--max-group-gap", "1"], "needs --groups"),
        (["--adapter", "{adapter}", "--data", "{data}", "--max-attack", "1.5"], "--max-attack"),
        (["--adapter", "{adapter}", "--data", "{data}", "--other", "nowhere"], "no such folder"),
    ],
)
def test_what_cannot_run_is_one_line_and_exit_code_2(work, tmp_path, capsys, options, message):
    paths = {"adapter": work.root / "adapter", "data": work.data}
    for name, content in (("list", "[1]"), ("words", '{"red": ["x"]}'), ("groups", '{"red": "a"}')):
        paths[name] = tmp_path / f"{name}.json"
        paths[name].write_text(content)
    code, printed, errors = run(capsys, *(item.format(**paths) for item in options), "--model", work.model)
    assert code == 2
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors
    assert printed == ""


def test_the_command_audits_an_edit_and_says_of_membership_that_there_is_none(work, capsys):
    options = [
        "--adapter",
        work.root / "edit",
        "--data",
        work.data,
        "--model",
        work.model,
        "--relearn-queries",
        20,
        "--membership",
    ]
    code, printed, errors = run(capsys, *options, "--max-forget", 0, "--json")
    assert (code, errors) == (1, "")
    content = json.loads(printed)
    assert content["adapter"]["kind"] == "edit"
    assert "no image went in" in content["metrics"]["membership"]["skipped"]
    code, printed, _ = run(capsys, *options, *LOOSE, "--max-short-list", 1, "--max-epsilon", 0)
    assert code == 0
    flat = " ".join(printed.split())
    assert "made from names alone" in flat
    assert "suppression on the text side" in flat


def test_a_limit_on_short_lists_is_a_share(work, capsys):
    options = ["--adapter", work.root / "edit", "--data", work.data, "--model", work.model]
    code, _, errors = run(capsys, *options, "--max-short-list", 1.5)
    assert code == 2
    assert "--max-short-list" in errors


def test_an_error_of_ours_is_not_mistaken_for_a_failed_adapter(work, capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(sys.modules["hf_unlearn.auditing.auditor"], "audit", broken)
    code, _, errors = run(capsys, "--adapter", work.root / "adapter", "--data", work.data, "--model", work.model)
    assert code == 2
    assert "out of memory" in errors
