"""Saves: whole whenever the process dies, never over what is not ours, and not lost for a picture."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
from PIL import Image

from hf_unlearn import ForgetAdapter, evaluate, unlearn
from hf_unlearn.adapters.storage import FILES, kind_of
from hf_unlearn.errors import RunError
from hf_unlearn.evaluation.report import Report
from hf_unlearn.files import PENDING, check_target
from tests.support.command_line import hf_unlearn_here
from tests.support.edited import edit_adapter
from tests.support.images import COLOURS, coloured


@pytest.fixture(scope="module")
def context(clip) -> ForgetAdapter:
    adapter = unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, progress=False).adapter
    return adapter.with_report(evaluate(clip, coloured(4, seed=1), adapter).content)


@pytest.fixture(scope="module")
def edit(clip) -> ForgetAdapter:
    return edit_adapter(clip, seed=3)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def dies_at(step: int, save) -> bool:
    """Runs `save` in a process that dies at its n-th change of the disk; whether it died."""
    if (child := os.fork()) == 0:
        left = step

        def count(event: str, arguments: tuple) -> None:
            nonlocal left
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if writes or event in ("os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.chmod"):
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(count)
        try:
            save()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("old", ["edit", "context", None])
@pytest.mark.parametrize("new", ["edit", "context"])
def test_a_save_that_dies_at_any_step_leaves_the_old_adapter_or_the_new_one_whole(edit, context, tmp_path, old, new):
    made = {"edit": edit, "context": replace(context, report=None) if old == "edit" else context}
    if old:
        made[old].save_pretrained(tmp_path / "old")
        (tmp_path / "old" / "mine.txt").write_text("mine")
    for step in range(200):
        folder = tmp_path / str(step) / "adapter"
        if old:
            copytree(tmp_path / "old", folder)
        report = None if old else made[new].report  # a report's picture takes long to draw
        later = replace(made[new], config=replace(made[new].config, seed=7), report=report)
        died = dies_at(step, lambda later=later, folder=folder: later.save_pretrained(folder))
        if old or kind_of(folder):
            found = ForgetAdapter.from_pretrained(folder)
            assert found.config in (later.config, made[old].config if old else None)
            assert (found.report is None) == ((later if found.config == later.config else made[old]).report is None)
        later.save_pretrained(folder)
        assert ForgetAdapter.from_pretrained(folder).config == later.config
        seen = {name for name in content_names(folder) if not name.startswith(".")}
        other = "forget_edit.safetensors" if new == "context" else "forget_context.safetensors"
        expected = set(FILES) - {other} - (set() if later.report else {"report.json", "report.png"})
        assert seen == expected | ({"mine.txt"} if old else set())
        assert not (folder / PENDING).exists()
        if not died:
            break
    else:
        pytest.fail("never got to the end")
    assert step > 10


def content_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_save_leaves_nothing_hidden_behind(context, tmp_path):
    for _ in range(2):
        context.save_pretrained(tmp_path / "adapter")
        assert content_names(tmp_path) == {"adapter"}
        assert content_names(tmp_path / "adapter") == set(FILES) - {"forget_edit.safetensors"}


# What is not ours


def project(folder: Path) -> Path:
    folder.mkdir()
    for name in ("report.json", "report.png", "README.md"):
        (folder / name).write_text("mine")
    return folder


def transformers_model(folder: Path, clip_folder: str) -> Path:
    folder.mkdir()
    for path in Path(clip_folder).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("kind", ["project", "model", "model with an adapter's weights", "settings"])
def test_a_folder_of_something_else_is_left_as_it_is(context, clip_folder, tmp_path, kind):
    if kind == "project":
        folder = project(tmp_path / "it")
    elif kind == "settings":
        (folder := tmp_path / "it").mkdir()
        (folder / "config.json").write_text("{}")
    else:
        folder = transformers_model(tmp_path / "it", clip_folder)
        if "weights" in kind:
            (folder / "forget_context.safetensors").write_bytes(b"x")
    before = content(folder)
    with pytest.raises(ValueError, match=r"it: exists and is no adapter \(it holds .*\); choose a new or empty folder"):
        context.save_pretrained(folder)
    with pytest.raises(ValueError, match="exists and is not an empty folder"):
        context.export(folder, base=clip_folder)
    assert content(folder) == before


def test_hidden_files_and_a_runs_own_folder_are_no_hindrance(context, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").write_bytes(b"")
    context.save_pretrained(tmp_path)
    assert content_names(tmp_path) == {*FILES, ".git", ".DS_Store", "run"} - {"forget_edit.safetensors"}


def test_a_damaged_adapter_of_ours_may_be_replaced(context, tmp_path):
    context.save_pretrained(tmp_path / "adapter")
    (tmp_path / "adapter" / "config.json").write_text("{")
    context.save_pretrained(tmp_path / "adapter")
    assert ForgetAdapter.from_pretrained(tmp_path / "adapter").config == context.config


def test_a_report_of_something_else_is_not_replaced_and_other_files_stay(context, tmp_path):
    report = Report(context.report)
    folder = project(tmp_path / "it")
    before = content(folder)
    with pytest.raises(ValueError, match=r"has a report\.json or report\.png of something else"):
        report.save(folder)
    assert content(folder) == before
    (folder / "report.json").unlink()
    (folder / "report.png").unlink()
    for _ in range(2):
        report.save(folder)
        assert content_names(folder) == {"report.json", "report.png", "README.md"}
        assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("place", "why"),
    [("file", "Not a directory"), ("file/below", "Not a directory"), ("n" * 300, "File name too long"),
     ("a/" + "n" * 300 + "/b", "File name too long"), ("nul\0", "null"), ("dangling", "No such file")],
)  # fmt: skip
def test_a_folder_that_can_not_be_written_is_told_before_and_at_the_save(context, tmp_path, place, why):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "at-all")
    target = tmp_path / place
    for attempt in (lambda: check_target(target, bool, "adapter"), lambda: context.save_pretrained(target)):
        with pytest.raises(OSError, match=rf"can't be written \(.*{why}.*\); choose another folder"):
            attempt()
    assert content_names(tmp_path) == {"file", "dangling"}


def test_a_name_as_long_as_the_disk_takes_is_taken(edit, tmp_path):
    edit.save_pretrained(tmp_path / ("n" * 255))
    assert kind_of(tmp_path / ("n" * 255)) == "edit"


# Pictures and cards

AGAIN = """
import sys
from hf_unlearn import ForgetAdapter
ForgetAdapter.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
"""  # the same save in a process of its own


NOTEBOOK = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}


@pytest.mark.parametrize(
    "settings", [NOTEBOOK, {"MPLBACKEND": "nope"}, {"MPLCONFIGDIR": "/proc/no"}, "broken", "binary"], ids=str
)
def test_no_setting_of_matplotlib_changes_the_picture(context, tmp_path, settings):
    if isinstance(settings, str):
        odd = b"text.usetex: True\nfont.family: Nope\naxes.linewidth: abc\nnonsense"
        text = odd if settings == "broken" else b"\xff\xfe\0"
        (tmp_path / "matplotlibrc").write_bytes(text)
        settings = {"MPLCONFIGDIR": str(tmp_path), **NOTEBOOK}
    context.save_pretrained(tmp_path / "here")
    command = [sys.executable, "-c", AGAIN, str(tmp_path / "here"), str(tmp_path / "there")]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "there") == content(tmp_path / "here")


def named(report: dict, names: list[str]) -> dict:
    report = json.loads(json.dumps(report))
    for item, name in zip(report["per_class"], names, strict=True):
        item["name"] = name
    for row, name in zip(report["rows"], names, strict=False):
        row["name"] = name
    return report


@pytest.mark.parametrize(
    "names", [["$x$", r"$\frac", "a_b^{c", "_x"], ["\x1b[31m", "\u202e", "a\nb", " "], [r"\$x$", "%", "\\", "x" * 500]]
)
def test_no_name_stops_the_picture(context, tmp_path, names):
    report = named(context.report, names)
    replace(context, report=report).save_pretrained(tmp_path / "adapter")
    with Image.open(tmp_path / "adapter" / "report.png") as picture:
        assert picture.width > 900


SCRIPTS = {"Chinese": "手枪和刀", "Japanese": "けんじゅう", "Korean": "강아지", "Arabic": "بندقية"}


def test_names_in_other_scripts_are_drawn_and_differ(context, tmp_path):
    """A font that lacks a character draws the same box for every one."""
    pictures = []
    for turn in range(2):
        names = [name if turn == 0 else name[::-1] for name in SCRIPTS.values()]
        replace(context, report=named(context.report, names)).save_pretrained(tmp_path / str(turn))
        pictures.append((tmp_path / str(turn) / "report.png").read_bytes())
    assert pictures[0] != pictures[1]


def test_characters_that_no_font_has_are_told_once(context, tmp_path):
    lacking = "\U00012000\U000e0100x"  # cuneiform; a variation selector is no character of its own
    report = named(context.report, [lacking, *list(COLOURS)[:3]])
    with pytest.warns(UserWarning, match="no font here has the characters \U00012000.*: pictures show boxes") as told:
        replace(context, report=report).save_pretrained(tmp_path / "adapter")
    assert len(told) == 1
    assert (tmp_path / "adapter" / "report.png").exists()


def test_a_picture_that_fails_is_named_in_one_warning_and_the_adapter_is_there(context, tmp_path):
    """A report without a number, which no report of ours is, stands for whatever may happen in drawing."""
    classes = [{**item, "accuracy_before": None} for item in context.report["per_class"]]
    context.save_pretrained(tmp_path / "adapter")
    with pytest.warns(UserWarning, match=r"^report\.png is missing, all else is there \(TypeError: ") as told:
        replace(context, report={**context.report, "per_class": classes}).save_pretrained(tmp_path / "adapter")
    assert len(told) == 1
    assert content_names(tmp_path / "adapter") == set(FILES) - {"forget_edit.safetensors", "report.png"}
    assert "report.png" not in (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")


def test_a_card_that_fails_is_named_and_the_adapter_is_there(context, tmp_path):
    rows = [{**row, "look_alike": "no number"} for row in context.report["rows"]]
    with pytest.warns(UserWarning, match=r"^README\.md is missing, all else is there \(ValueError: ") as told:
        replace(context, report={**context.report, "rows": rows}).save_pretrained(tmp_path / "adapter")
    assert len(told) == 1
    assert content_names(tmp_path / "adapter") == set(FILES) - {"forget_edit.safetensors", "README.md"}


@pytest.mark.parametrize("language", ["C", "POSIX"])
def test_whatever_the_locale_files_are_utf8_with_plain_line_ends(edit, tmp_path, language):
    named = replace(edit, config=replace(edit.config, forget=["手枪", "café"]))
    named.save_pretrained(tmp_path / "here")
    command = [sys.executable, "-c", AGAIN, str(tmp_path / "here"), str(tmp_path / "there")]
    settings = {"LC_ALL": language, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert "- **Forgets:** 手枪, café\n" in (tmp_path / "there" / "README.md").read_bytes().decode()


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
def test_a_disk_that_is_full_at_the_picture_costs_the_picture_alone(context, tmp_path):
    context.save_pretrained(tmp_path / "here")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))\n"
    code = AGAIN.replace("ForgetAdapter.from", limit + "ForgetAdapter.from")
    command = [sys.executable, "-c", code, str(tmp_path / "here"), str(tmp_path / "there")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "report.png is missing, all else is there (OSError: [Errno 27]" in done.stderr
    assert content_names(tmp_path / "there") == content_names(tmp_path / "here") - {"report.png"}
    assert "report.png" not in (tmp_path / "there" / "README.md").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
@pytest.mark.parametrize("there", [False, True])
def test_a_disk_that_is_full_at_the_weights_is_told_with_the_folder_and_changes_nothing(edit, tmp_path, there):
    edit.save_pretrained(tmp_path / "here")
    if there:
        edit.save_pretrained(tmp_path / "there")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    code = AGAIN.replace("ForgetAdapter.from", limit + "ForgetAdapter.from")
    command = [sys.executable, "-c", code, str(tmp_path / "here"), str(tmp_path / "there")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "there: can't be written (File too large); make room there or choose another folder" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"][: 1 + there]
    if there:
        assert content(tmp_path / "there") == content(tmp_path / "here")


def test_a_run_folder_that_holds_something_else_is_left_as_it_is(clip, tmp_path):
    (tmp_path / "lock").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path).chmod(0o755)
    with pytest.raises(RunError, match=r"exists and is no run folder \(it holds notes\.txt\); choose a new or empty"):
        unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, progress=False, run_dir=tmp_path)
    assert content(tmp_path) == {"lock": b"mine", "notes.txt": b"mine"}
    assert tmp_path.stat().st_mode & 0o777 == 0o755


WRITERS = {
    "forget": lambda out: ["forget", "--forget", "weapon", "--out", out],
    "forget from images": lambda out: ["forget", "--data", "none", "--forget", "red", "--out", out],
    "combine": lambda out: ["combine", "no/one", "no/two", "--out", out],
    "without": lambda out: ["without", "no/one", "red", "--out", out],
    "pull": lambda out: ["pull", "no/one", out],
    "export": lambda out: ["export", "no/one", out],
    "audit": lambda out: ["audit", "--adapter", "no/one", "--out", out],
    "demo": lambda out: ["demo", "--out", out.parent],
}


@pytest.mark.parametrize("command", WRITERS)
def test_every_command_that_writes_refuses_before_it_starts(clip_folder, tmp_path, command):
    out = tmp_path / ("adapter" if command == "demo" else "it")
    for folder in (project(out), transformers_model(tmp_path / "model", clip_folder)):
        if folder.name == "model" and command == "demo":
            continue
        before = content(folder)
        done = hf_unlearn_here(*WRITERS[command](folder))
        assert (done.returncode, done.stdout) == (2, "")
        assert f"error: {folder}: exists and is no" in done.stderr or "is not an empty folder" in done.stderr
        assert content(folder) == before
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/below", "n" * 300):
        done = hf_unlearn_here(*WRITERS[command](tmp_path / place / "adapter"))
        assert done.returncode == 2
        assert "can't be written (" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
