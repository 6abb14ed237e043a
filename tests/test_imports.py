"""Borders that import-linter does not hold: what loads what, and which module knows which library."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hf_unlearn

ROOT = Path(hf_unlearn.__file__).parent
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}


def imported(name: str) -> set[str]:
    """Dotted names a module imports anywhere in it, also inside functions; relative imports resolved."""
    found = set()
    package = ["hf_unlearn", *name.split(".")[:-1]]
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def tops(name: str) -> set[str]:
    return {dotted.split(".")[0] for dotted in imported(name)}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "statement", ["import hf_unlearn", "import hf_unlearn.cli.main", "import hf_unlearn.hub.client"]
)
def test_importing_the_package_and_its_command_line_loads_no_torch(statement):
    code = f"{statement}; import sys; print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    assert python(code) == "[]"


def test_every_public_name_is_there_and_listed():
    for name in hf_unlearn.__all__:
        assert getattr(hf_unlearn, name).__module__.startswith("hf_unlearn.")
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        hf_unlearn.nosuch  # noqa: B018


def test_names_for_type_checkers_are_the_public_names_and_their_homes():
    tree = ast.parse(MODULES["__init__"].read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname: f"{node.module}.{alias.name}".removeprefix("hf_unlearn.")
        for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }  # fmt: skip
    assert typed == {name: f"{home}.{name}" for name, home in hf_unlearn._HOMES.items()}
    assert hf_unlearn.__all__ == sorted(typed)
    assert all(getattr(hf_unlearn, name).__doc__ for name in typed)


def test_few_modules_know_the_hub():
    assert {name for name in MODULES if "huggingface_hub" in tops(name) and not name.startswith("hub.")} == {
        "adapters.adapter", "adapters.model_card", "adapters.stored_adapter",
    }  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_only_the_local_clip_and_the_text_tower_know_transformers(name):
    assert name in (
        "models.clip",
        "models.loading",
        "models.open_clip",
        "models.open_clip_config",
        "models.open_clip_processor",
        "models.prefix_tower",
        "adapters.export.siglip_tokenizer",
    ) or "transformers" not in tops(name)
    makes_tokenizers = ("adapters.export.checkpoint", "adapters.export.siglip_tokenizer", "models.open_clip_processor")
    assert name in makes_tokenizers or "tokenizers" not in tops(name)
    assert name in ("models.device", "training.workers") or "accelerate" not in tops(name)


@pytest.mark.parametrize("name", MODULES)
def test_pictures_are_drawn_in_one_place_without_a_display(name):
    assert name == "drawing" or "matplotlib" not in tops(name)
    assert not any("pyplot" in dotted for dotted in imported(name))


@pytest.mark.parametrize("name", MODULES)
def test_nothing_in_the_library_reads_pickles_or_runs_strangers_code(name):
    assert not tops(name) & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    calls = [node for node in ast.walk(ast.parse(MODULES[name].read_text())) if isinstance(node, ast.Call)]
    assert not {"torch.load", "torch.save", "eval", "exec"} & {ast.unparse(call.func) for call in calls}
    for call in calls:
        trusted = [k.value for k in call.keywords if k.arg == "trust_remote_code"]
        assert all(isinstance(value, ast.Constant) and value.value is False for value in trusted)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_short_enough_to_be_read(name):
    assert len(MODULES[name].read_text().splitlines()) <= 400


def test_everything_imported_is_declared_as_a_dependency():
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    dependencies = project["dependencies"] + extras["remote"] + extras["siglip"] + extras["heic"] + extras["datasets"]
    declared = {re.split(r"[^\w-]", line)[0].lower().replace("-", "_") for line in dependencies}
    declared |= {{"pillow": "PIL", "scikit_learn": "sklearn"}.get(name, name) for name in declared}
    used = set().union(*(tops(name) for name in MODULES)) - set(sys.stdlib_module_names) - {"hf_unlearn", "__future__"}
    assert used - {"triton"} <= declared  # PyTorch for GPUs brings it; without it all works, slower
