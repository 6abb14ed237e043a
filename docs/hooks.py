"""What MkDocs does beside its plugins: pages that lie outside of docs/, and the help of every command."""

import io
import os
import posixpath
import re
import sys
import tomllib
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {  # file of the repository -> page of the site
    "benchmarks/README.md": "all-benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(\]\()([^)#\s]+)(?=[)#])")


def on_files(files: Files, config) -> Files:
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page, **_) -> str:
    """Links that are good in the repository become links of the site."""
    sources = {target: source for source, target in OUTSIDE.items()}
    here = posixpath.dirname(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def moved(link: re.Match) -> str:
        if re.match(r"\w+:", link[2]):
            return link[0]
        there = posixpath.normpath(posixpath.join(here, link[2]))
        there = OUTSIDE.get(there, there.removeprefix("docs/"))
        return link[1] + posixpath.relpath(there, posixpath.dirname(page.file.src_uri) or ".")

    markdown = LINK.sub(moved, markdown)
    return re.sub(r"<!-- help: (\w+) -->", lambda command: f"```text\n{_help(command[1])}\n```", markdown)


def _help(command: str) -> str:
    """What `hf-unlearn COMMAND --help` prints."""
    os.environ.update(TERMINAL_WIDTH="100", NO_COLOR="1")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["scripts"]["hf-unlearn"].split(":")
    sys.path.insert(0, str(ROOT))
    before, sys.argv = sys.argv, ["hf-unlearn", command, "--help"]
    try:
        with redirect_stdout(io.StringIO()) as out:
            getattr(import_module(module), function)()
    except SystemExit as stop:
        if stop.code:
            raise RuntimeError(f"hf-unlearn {command} --help failed") from None
    finally:
        sys.argv = before
        sys.path.remove(str(ROOT))
    said = re.sub(r"Usage: \S.*?hf-unlearn", "Usage: hf-unlearn", out.getvalue().strip("\n"))
    return "\n".join(line.rstrip() for line in said.splitlines())
