"""The files that commands read besides adapters and images: names, groups, words, exclusions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hf_unlearn import console
from hf_unlearn.data.class_names import check_names, clean_name, synonym_lists
from hf_unlearn.errors import InputError
from hf_unlearn.files import decode, parse_json
from hf_unlearn.text import brief

MAX_BYTES = 8 * 2**20
COMMENT = re.compile(r"#(\s|$)")
MARKED = re.compile(  # as lines of lists, tables and programs are, and names seldom
    r"[-*+•–—] |\d+[.):] |#|[\"'`“”„«].*[\"'`“”»],?$|.*[,;\t|]|(names?|class(es)?|labels?|categor(y|ies))$", re.I
)
SHOWN = 3  # names of a file that a note repeats


def read_strings(path: Path, option: str) -> dict[str, str]:
    """Reads a JSON object of text, such as sub-folder -> class name.

    Raises:
        InputError: if the file is not there, too large or something else; the message names option and file.
    """
    content = _object(path, option)
    if wrong := [key for key, value in content.items() if not (isinstance(value, str) and clean_name(value))]:
        got = brief(content[wrong[0]])
        raise InputError(f"{option} {path}: expected text for {brief(wrong[0])}, got {got}")
    return content


def read_words(path: Path) -> dict[str, dict[str, list[str]]]:
    """Reads `--words`: a JSON object, kind -> class -> words.

    Raises:
        InputError: if the file is not there, too large or something else; the message names it.
    """
    content = _object(path, "--words")
    for kind, table in content.items():
        if not (isinstance(table, dict) and all(map(_are_words, table.values()))):
            raise InputError(f"--words {path}: {brief(kind)} must be an object, class -> list of words")
    return {kind: _word_lists(table, f"--words {path}: {brief(kind)}") for kind, table in content.items()}


def read_synonyms(path: Path) -> dict[str, list[str]]:
    """Reads `--synonyms`: a JSON object, class -> other names.

    Raises:
        InputError: if the file is not there, too large or something else; the message names it.
    """
    content = _object(path, "--synonyms")
    if wrong := [name for name, words in content.items() if not _are_words(words)]:
        raise InputError(f"--synonyms {path}: expected a list of names for {brief(wrong[0])}")
    return _word_lists(content, f"--synonyms {path}")


def read_name_list(path: Path, option: str) -> list[str]:
    """Reads the names in a text file, one per line; blank lines and comments are skipped.

    If a line looks like more than a name (a bullet, quotes, commas), stderr says what was read.

    Raises:
        InputError: if the file is not there, too large, no text, or JSON; the message names option and file.
    """
    lines = read_lines(path, option)
    if lines and lines[0][0] in "[{" and _is_json("\n".join(lines)):
        raise InputError(f"{option} {path}: a JSON file; expected one name per line, without brackets and quotes")
    lines = [line for line in lines if not COMMENT.match(line) and clean_name(line)]
    names = list(map(clean_name, lines))
    if marked := [name for line, name in zip(lines, names, strict=True) if MARKED.match(line)]:
        count = f"{len(names):,} name{'s' * (len(names) > 1)}, one per line{', such as' * (len(marked) < len(names))}"
        console.print_notice("note", f"{option} {path}: {count}: {', '.join(map(brief, marked[:SHOWN]))}")
    return names


def read_classes(path: Path) -> list[str]:
    """Reads `--classes`: names as `read_name_list` reads them, each once.

    Raises:
        InputError: as `read_name_list`, and if there is no name, or one is there twice.
    """
    found = read_name_list(path, "--classes")
    try:
        return check_names(found)
    except ValueError as error:
        raise InputError(f"--classes {path}: {error}") from error


def read_lines(path: Path, option: str) -> list[str]:
    """Reads the lines of a text file that are not blank.

    Raises:
        InputError: if the file is not there, too large or no text; the message names option and file.
    """
    content = _bytes(path, option)
    try:
        text = decode(content)
    except ValueError as error:
        raise InputError(f"{option} {path}: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_digests(path: Path) -> set[str]:
    """Reads `--exclude`: one image per line, by path or SHA-256. Returns the digests.

    Raises:
        InputError: if the file or an image is not there or can't be read; the message names it.
    """
    lines = read_lines(path, "--exclude")
    return {line.lower() if re.fullmatch("[0-9a-fA-F]{64}", line) else _digest(line, path) for line in lines}


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and clean_name(word) for word in value)


def _word_lists(table: dict[str, list[str]], where: str) -> dict[str, list[str]]:
    try:
        return synonym_lists(table)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _is_json(text: str) -> bool:
    try:
        parse_json(text.encode())
    except ValueError:
        return False
    return True


def _object(path: Path, option: str) -> dict[str, Any]:
    written = _bytes(path, option)
    try:
        content = parse_json(written)
    except ValueError as error:
        raise InputError(f"{option} {path}: not valid JSON ({str(error)[:200]})") from error
    if not isinstance(content, dict) or not content:
        raise InputError(f"{option} {path}: expected a JSON object with something in it")
    return content


def _bytes(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"{option} {path}: no such file") from error
    except OSError as error:
        raise InputError(f"{option} {path}: can't be read ({error.strerror})") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{option} {path}: larger than {MAX_BYTES >> 20} MiB")
    return content


def _digest(line: str, path: Path) -> str:
    from hf_unlearn.data.image_files import hash_file

    try:
        return hash_file(Path(line)).hex()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"--exclude {path}: {line[:200]!r} is neither a SHA-256 nor a file to read ({why})") from error
