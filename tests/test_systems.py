"""Windows, macOS and other languages' Linux: what can be simulated of them here."""

import ast
import json
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path, PurePosixPath, PureWindowsPath

import psutil
import pytest
import torch

ROOT = Path(__file__).parents[1]
SHIPPED = [path for part in ("hf_unlearn", "space") for path in sorted((ROOT / part).rglob("*.py"))] + [ROOT / "app.py"]
OURS = [*SHIPPED, *sorted((ROOT / "benchmarks").glob("*.py")), *sorted((ROOT / "docs").glob("*.py"))]
UNIX = ("fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty")
UNIX_CALLS = {  # each absent, or an error, on Windows
    "os.chown", "os.fork", "os.forkpty", "os.geteuid", "os.getpgid", "os.getuid", "os.killpg", "os.mkfifo", "os.nice",
    "os.sched_getaffinity", "os.setsid", "os.sync", "signal.alarm", "signal.pause", "time.tzset", "symlink_to",
    "hardlink_to", "os.symlink",
}  # fmt: skip
UNIX_NAMES = {"SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGQUIT", "O_DIRECTORY"}
UNIX_OPTIONS = {"preexec_fn", "start_new_session", "process_group", "pass_fds"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", SHIPPED, ids=relative)
def test_no_module_uses_what_only_unix_has(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    called = {ast.unparse(call.func) for call in calls(path)}
    assert not imported & set(UNIX)
    assert not {name for name in called if name in UNIX_CALLS or name.split(".")[-1] in UNIX_CALLS}
    assert not {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & UNIX_NAMES
    assert not {keyword.arg for call in calls(path) for keyword in call.keywords} & UNIX_OPTIONS


def opens_text(call: ast.Call) -> bool:
    """A text file opened; images, archives and checkpoints are opened otherwise."""
    name = ast.unparse(call.func)
    if name.split(".")[-1] != "open":
        return name.split(".")[-1] in ("read_text", "write_text", "fdopen")
    if name.split(".")[0] in ("Image", "archive", "os", "zipfile", "webbrowser", "Checkpoint"):
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    return not any(
        isinstance(mode, ast.Constant) and re.fullmatch("[rwxa+]*b[rwxa+]*", str(mode.value)) for mode in given
    )


@pytest.mark.parametrize("path", OURS, ids=relative)
def test_text_files_have_an_encoding_and_what_is_written_the_same_line_ends_everywhere(path):
    for call in filter(opens_text, calls(path)):
        named = {keyword.arg for keyword in call.keywords}
        assert "encoding" in named, f"line {call.lineno}: {ast.unparse(call)}"
        assert "newline" in named or not ast.unparse(call.func).endswith("write_text"), f"line {call.lineno}"


def python(code: str, *arguments: str, **settings: str) -> str:
    """What a program says in a process of its own; `tests.support` can be imported."""
    paths = str(ROOT)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **settings}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8").strip()


MODULES = [relative(path)[:-3].replace("/", ".").removesuffix(".__init__") for path in SHIPPED]
OF_GPUS = "hf_unlearn.models.triton_kernels"  # needs what PyTorch for GPUs brings
RUNNABLE = ("hf_unlearn.__main__", "hf_unlearn.demo.__main__", "app", OF_GPUS)  # importing them runs them
IMPORT_ALL = f"""
    import importlib, json, sys
    import torch, transformers, accelerate, sklearn.linear_model, matplotlib.figure, filelock, psutil, typer  # theirs
    try:
        import gradio
    except ImportError:
        gradio = None
    for name in {UNIX}:
        sys.modules[name] = None
    for name in {sorted(set(MODULES) - set(RUNNABLE))}:
        if gradio or not name.startswith("space"):
            importlib.import_module(name)
    print("all")
"""


def test_every_module_can_be_imported_where_there_is_no_unix():
    assert python(IMPORT_ALL).splitlines()[-1] == "all"


RUN = """
    import sys
    from pathlib import Path
    import psutil  # on Linux it needs `resource` itself
    sys.modules["resource"] = sys.modules["fcntl"] = None
    from tests.support.checkpoints import write_clip
    from tests.support.images import coloured
    from hf_unlearn import ClipBlackBox, unlearn
    from hf_unlearn.errors import RunError
    from hf_unlearn.training.checkpoint import Checkpoint
    folder = Path(sys.argv[1])
    model = ClipBlackBox(write_clip(folder / "clip", seed=0))
    def run():
        few = {"max_queries": 20, "shots": 1, "progress": False}
        return unlearn(model, coloured(4), forget=["red"], run_dir=folder / "run", **few)
    found = run().adapter.config.ledger
    with Checkpoint(folder / "run", {}).locked():
        try:
            run()
        except RunError as error:
            print(error)
    print(found["peak_memory_mb"] > 50)
"""


def test_a_run_needs_no_unix_and_its_folder_is_still_one_processs_alone(tmp_path):
    refused, measured = python(RUN, str(tmp_path)).splitlines()[-2:]
    assert "another process is working in this run folder" in refused
    assert measured == "True"


def test_memory_is_told_in_mebibytes_and_a_peak_stays():
    from hf_unlearn.training.peak_memory import PeakMemory

    peak = PeakMemory()
    assert 0.7 <= peak.mb / (psutil.Process().memory_info().rss / 2**20) < 30  # a peak may be long past
    before, block = peak.mb, torch.ones(2**26)  # 256 MiB
    peak.note()
    del block
    peak.note()
    assert peak.mb > before + 200


def test_on_windows_the_systems_own_peak_is_taken(monkeypatch):
    from collections import namedtuple

    from hf_unlearn.training.peak_memory import PeakMemory

    of_windows = namedtuple("pmem", "rss peak_wset")(100 * 2**20, 300 * 2**20)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda self: of_windows)
    assert PeakMemory().mb == 300


ODD_NAMES = """
    import sys, warnings
    from pathlib import Path
    warnings.filterwarnings("error", category=EncodingWarning, module="hf_unlearn|space")
    from tests.support.checkpoints import write_clip
    from tests.support.images import coloured
    from hf_unlearn import ClipBlackBox, ForgetAdapter, LabeledImages, demo, evaluate, unlearn
    folder = Path(sys.argv[1])
    plain = coloured(4)
    images = LabeledImages.from_arrays(list(plain), plain.labels, ["caf\\u00e9", "\\u732b", "na\\u00efve", "grey"])
    model = ClipBlackBox(write_clip(folder / "clip", seed=0))
    words = [f"w\\u00f6rd{n}" for n in range(60)]
    result = unlearn(model, forget=["caf\\u00e9"], vocabulary=words)
    report = evaluate(model, images, result.adapter)
    result.adapter.with_report(report.content).save_pretrained(folder / "adapter")
    report.save(folder / "report")
    adapter = ForgetAdapter.from_pretrained(folder / "adapter")
    adapter.export(folder / "exported", base=str(folder / "clip"))
    few = {"max_queries": 8, "shots": 1, "progress": False}
    context = unlearn(model, images, forget=["caf\\u00e9"], run_dir=folder / "run", **few)
    context.adapter.save_pretrained(folder / "context")
    context.adapter.export(folder / "exported-context", base=str(folder / "clip"))
    demo.attack_words(), demo.tasks(), demo.licences()
    print(ascii(adapter.config.forget))
"""


def test_under_another_encoding_of_the_system_files_are_in_utf_8_with_plain_line_ends(tmp_path):
    told = python(
        ODD_NAMES, str(tmp_path), LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONWARNDEFAULTENCODING="1"
    )
    assert told.splitlines()[-1] == r"['caf\xe9']"
    texts = [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".md")]
    assert len(texts) > 8
    for path in texts:
        assert "\r" not in path.read_bytes().decode("utf-8")
    for folder in ("adapter", "context"):
        assert "café" in (tmp_path / folder / "README.md").read_text(encoding="utf-8")
        assert json.loads((tmp_path / folder / "config.json").read_text(encoding="utf-8"))["forget"] == ["café"]


def in_use() -> set[str]:
    """Files that this process has open, or mapped into its memory."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    mapped = {line.split(maxsplit=5)[5] for line in lines if line.count("/")}
    handles = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return mapped | {os.readlink(handle) for handle in handles if handle.exists()}


@pytest.fixture
def as_on_windows(monkeypatch):
    """Renaming there fails where a folder is in the way, and where what is moved or replaced is in use."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc to tell what is in use")

    def careful(rename, overwrites):
        def renamed(source, target, **options):
            target = os.path.abspath(target)
            if os.path.isdir(target) or (not overwrites and os.path.exists(target)):
                raise FileExistsError(183, "a file of that name exists", target)
            held = {path for path in in_use() if any(f"{path}/".startswith(f"{own}/") for own in (source, target))}
            if held:
                raise PermissionError(13, "the file is in use", min(held))
            return rename(source, target, **options)

        return renamed

    for module in (os, __import__("posix")):
        monkeypatch.setattr(module, "rename", careful(os.rename, overwrites=False), raising=False)
        monkeypatch.setattr(module, "replace", careful(os.replace, overwrites=True), raising=False)
    monkeypatch.setattr(os, "symlink", lambda *_, **__: (_ for _ in ()).throw(OSError(1314, "no privilege")))


@pytest.mark.parametrize("kind", ["edit", "context"])
def test_where_nothing_in_use_can_be_replaced_adapters_are_saved_again_and_exported(
    as_on_windows, clip, clip_folder, tmp_path, kind
):
    from hf_unlearn import ForgetAdapter, evaluate, unlearn
    from tests.support.images import coloured

    made = {
        "edit": lambda: unlearn(clip, forget=["red"], vocabulary=[f"word{n}" for n in range(60)]),
        "context": lambda: unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=1, progress=False,
                                   run_dir=tmp_path / "run"),
    }  # fmt: skip
    made[kind]().adapter.save_pretrained(tmp_path / "adapter")
    adapter = made[kind]().adapter  # of a run: taken up again
    loaded = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    report = evaluate(clip, coloured(2), loaded)
    loaded.with_report(report.content).save_pretrained(tmp_path / "adapter")
    again = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    assert again.config.weights_sha256 == adapter.config.weights_sha256
    report.save(tmp_path / "report")
    (tmp_path / "empty").mkdir()
    for folder in ("new", "empty"):
        again.export(tmp_path / folder, base=clip_folder)
        assert (tmp_path / folder / "model.safetensors").is_file()


def classified(folder: str) -> tuple[list[str], str]:
    """What a worker makes of an adapter."""
    from hf_unlearn import ForgetAdapter

    adapter = ForgetAdapter.from_pretrained(folder)
    return adapter.config.forget, adapter.config.weights_sha256


def described(adapter) -> tuple[list[str], str]:
    return adapter.config.forget, adapter.config.weights_sha256


def test_adapters_and_images_go_to_spawned_processes(tmp_path, clip):
    """Where nothing can be forked, all that is passed is pickled."""
    from hf_unlearn import unlearn
    from tests.support.images import coloured

    adapter = unlearn(clip, forget=["red"], vocabulary=[f"word{n}" for n in range(60)]).adapter
    adapter.save_pretrained(tmp_path / "adapter")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(described, (adapter,)) == described(adapter)
        assert pool.apply(classified, (str(tmp_path / "adapter"),)) == described(adapter)
        assert pool.apply(len, (coloured(2),)) == 8


@pytest.mark.parametrize("system", [PurePosixPath, PureWindowsPath])
def test_classes_and_images_have_the_same_order_on_every_system(system):
    from hf_unlearn.data.image_files import in_order

    told = in_order(system(path) for path in ("b/1.png", "a-b/1.png", "C/1.png", "a/B.png", "a/a.png"))
    assert [path.as_posix() for path in told] == ["C/1.png", "a/B.png", "a/a.png", "a-b/1.png", "b/1.png"]


def test_the_demos_classes_can_be_folders_everywhere():
    from hf_unlearn.demo import emoji_tasks as demo

    names = list(demo.concepts())
    assert not [name for name in names if re.search(r'[<>:"/\\|?*\0-\x1f]|[. ]$', name)]
    assert not [name for name in names if PureWindowsPath(name).is_reserved()]
    assert len({name.casefold() for name in names}) == len(names)


@pytest.mark.parametrize(
    "name", ["CON/1.png", "cat/nul.png", "aux", "a/Com1", "lpt9 .png", "cat./1.png", "cat /1.png", "a:b"]
)
@pytest.mark.parametrize("windows", [True, False])
def test_a_zip_with_a_name_that_is_a_device_on_windows_is_refused_there(tmp_path, monkeypatch, name, windows):
    from zipfile import ZipFile

    archives = pytest.importorskip("space.inputs.archives")
    monkeypatch.setattr(archives, "WINDOWS", windows)
    with ZipFile(tmp_path / "sent.zip", "w") as sent:
        sent.writestr("dog/console.png", b"x")
        sent.writestr(name, b"x")
    if windows or ":" in name:
        with (
            pytest.raises(ValueError, match=r"no file can be|leads elsewhere"),
            archives.unpack([tmp_path / "sent.zip"]),
        ):
            pass
    else:
        with archives.unpack([tmp_path / "sent.zip"]) as folder:
            assert (folder / name).read_bytes() == b"x"
