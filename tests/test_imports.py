"""Borders: what loads what, and which module may know of which."""

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
SIBLINGS = {name.split(".")[0] for name in MODULES} - {"__init__", "__main__"}


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


def siblings(name: str) -> set[str]:
    parts = (dotted.split(".") for dotted in imported(name))
    return {p[1] for p in parts if p[0] == "hf_unlearn" and len(p) > 1 and p[1] in SIBLINGS} - {name.split(".")[0]}


def tops(name: str) -> set[str]:
    return {dotted.split(".")[0] for dotted in imported(name)}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("statement", ["import hf_unlearn", "import hf_unlearn.cli", "import hf_unlearn.hub"])
def test_importing_the_package_and_its_command_line_loads_no_torch(statement):
    code = f"{statement}; import sys; print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    assert python(code) == "[]"


def test_every_public_name_is_there_and_listed():
    for name in hf_unlearn.__all__:
        assert callable(getattr(hf_unlearn, name))
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        hf_unlearn.nosuch  # noqa: B018


@pytest.mark.parametrize(("name", "detail"), [("unlearn", "Search"), ("evaluate", "Report"), ("audit", "Audit")])
def test_a_public_function_is_a_function_whatever_was_imported_before_it(name, detail):
    code = f"from hf_unlearn.{name} import {detail}; from hf_unlearn import {name}; print(callable({name}))"
    assert python(code) == "True"


def test_an_attack_on_a_black_box_does_not_know_which_box_or_whose_images_it_has():
    assert not {"demo", "text_tower", "remote"} & set().union(*(siblings(n) for n in MODULES if n.startswith("audit.")))


@pytest.mark.parametrize("name", ["arguments", "pixels", "context", "objective", "jacobian", "metrics"])
def test_the_foundations_import_no_sibling(name):
    assert siblings(name) == set()


def test_data_knows_names_and_image_files_and_no_model():
    assert siblings("data") == {"arguments", "image_files", "layout", "names", "pixels"}
    assert siblings("layout") == {"image_files"}
    assert siblings("image_files") == {"pixels"}


def test_optimizers_know_the_objective_and_the_jacobian_and_no_other_sibling():
    assert siblings("optimizers") == set()
    assert siblings("block_cma") == {"optimizers"}
    assert siblings("proximal") == {"optimizers", "objective", "jacobian", "lbfgs", "cuda_graphs"}
    assert siblings("lbfgs") == siblings("cuda_graphs") == set()


def test_the_black_box_does_not_know_who_uses_it():
    assert siblings("black_box") == {"arguments"}
    assert siblings("clip") <= {
        "adapted_box", "arguments", "black_box", "cuda_graphs", "data", "text_tower", "demo", "hub", "hub_errors",
        "names", "pixels",
    }  # fmt: skip
    assert siblings("text_tower") == set()


def test_a_model_under_an_adapter_knows_what_an_edit_is_and_no_adapter():
    assert siblings("adapted_box") == {"black_box", "edits"}
    assert siblings("edits.text_edit") == siblings("edits.vectors") == set()


def test_edits_are_made_of_names_and_features_and_know_no_adapter_and_no_model():
    edits = {name for name in MODULES if name.startswith("edits.")}
    assert edits >= {f"edits.{part}" for part in ("by_name", "closed_form", "neighbours", "text_edit", "vocabulary")}
    assert set().union(*(siblings(name) for name in edits)) <= {"arguments", "black_box", "names"}
    assert siblings("edits.closed_form") == {"arguments"}
    assert siblings("edits.neighbours") == set()


def test_a_request_for_an_edit_knows_adapters_and_no_search():
    assert siblings("edit_run") == {
        "adapter", "adapter_config", "arguments", "black_box", "edits", "names", "naming", "result",
    }  # fmt: skip
    assert "edit_run" in siblings("unlearn") & siblings("compose")
    assert not siblings("unlearn") & {"edits", "compose"}


COMMANDS = {name for name in MODULES if name.split("_")[0] == "cli"}


@pytest.mark.parametrize("name", sorted(set(MODULES) - COMMANDS - {"__init__", "__main__", "demo.story"}))
def test_nothing_below_imports_the_command_line_or_the_story(name):
    assert not siblings(name) & COMMANDS
    assert not any(dotted.startswith("hf_unlearn.demo.story") for dotted in imported(name))
    assert not siblings(name) & {"audit", "compose"}
    if name not in ("demo.__init__", "compose") and not name.startswith("audit."):
        assert not siblings(name) & {"unlearn", "evaluate"}


def test_the_hub_and_the_card_know_adapters_as_files_and_facts_only():
    assert siblings("hub_errors") == set()
    assert siblings("hub") == {"adapter_config", "hub_errors"}
    assert siblings("card") == set()
    assert siblings("adapter_report") == {"adapter_config"}
    assert siblings("adapter_files") == {
        "adapter_config", "adapter_report", "card", "edits", "plots", "targets",
    }  # fmt: skip
    assert siblings("targets") == siblings("console") == set()


def test_only_three_modules_know_the_hub():
    assert {name for name in MODULES if "huggingface_hub" in tops(name)} == {"hub", "hub_errors", "card"}


def test_no_import_goes_in_a_circle():
    graph = {name: siblings(name) for name in MODULES if "." not in name and not name.startswith("__")}
    graph["demo"] = siblings("demo.__init__")
    for package in ("audit", "edits"):
        graph[package] = set().union(*(siblings(name) for name in MODULES if name.startswith(f"{package}.")))

    def reaches(start: str, target: str, seen: frozenset = frozenset()) -> bool:
        onward = graph[start] - seen
        return target in onward or any(reaches(step, target, seen | onward) for step in onward)

    assert [name for name in graph if reaches(name, name)] == []


@pytest.mark.parametrize("name", MODULES)
def test_only_the_local_clip_and_the_text_tower_know_transformers(name):
    assert name in ("clip", "text_tower", "siglip_tokenizer") or "transformers" not in tops(name)
    assert name in ("export", "siglip_tokenizer") or "tokenizers" not in tops(name)
    assert name in ("clip", "processes") or "accelerate" not in tops(name)


@pytest.mark.parametrize("name", MODULES)
def test_pictures_are_drawn_in_one_place_without_a_display(name):
    assert name == "drawing" or "matplotlib" not in tops(name)
    assert not any("pyplot" in dotted for dotted in imported(name))


@pytest.mark.parametrize("name", MODULES)
def test_nothing_in_the_library_imports_what_stands_on_it(name):
    assert not tops(name) & {"gradio", "space", "app", "benchmarks", "tests", "conftest"}


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
    dependencies = project["dependencies"] + extras["remote"] + extras["siglip"] + extras["heic"]
    declared = {re.split(r"[^\w-]", line)[0].lower().replace("-", "_") for line in dependencies}
    declared |= {{"pillow": "PIL", "scikit_learn": "sklearn"}.get(name, name) for name in declared}
    used = set().union(*(tops(name) for name in MODULES)) - set(sys.stdlib_module_names) - {"hf_unlearn", "__future__"}
    assert used <= declared
