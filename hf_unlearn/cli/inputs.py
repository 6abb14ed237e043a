"""What the commands read besides adapters: files of names, groups, words and exclusions, and folders of images."""

from __future__ import annotations

import re
from hashlib import sha256
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
SHOWN = 3  # names of a file that are said back


def read_strings(path: Path, option: str) -> dict[str, str]:
    """A JSON object of text, such as sub-folder -> class name.

    Raises:
        ValueError: if the file is not there, too large or something else; option and file are named.
    """
    content = _object(path, option)
    if wrong := [key for key, value in content.items() if not (isinstance(value, str) and clean_name(value))]:
        got = brief(content[wrong[0]])
        raise InputError(f"{option} {path}: expected text for {brief(wrong[0])}, got {got}")
    return content


def read_words(path: Path) -> dict[str, dict[str, list[str]]]:
    """`--words`: a JSON object, kind -> class -> words.

    Raises:
        ValueError: if the file is not there, too large or something else; it is named.
    """
    content = _object(path, "--words")
    for kind, table in content.items():
        if not (isinstance(table, dict) and all(map(_words, table.values()))):
            raise InputError(f"--words {path}: {brief(kind)} must be an object, class -> list of words")
    return {kind: _lists(table, f"--words {path}: {brief(kind)}") for kind, table in content.items()}


def read_synonyms(path: Path) -> dict[str, list[str]]:
    """`--synonyms`: a JSON object, class -> other names.

    Raises:
        ValueError: if the file is not there, too large or something else; it is named.
    """
    content = _object(path, "--synonyms")
    if wrong := [name for name, own in content.items() if not _words(own)]:
        raise InputError(f"--synonyms {path}: expected a list of names for {brief(wrong[0])}")
    return _lists(content, f"--synonyms {path}")


def read_name_list(path: Path, option: str) -> list[str]:
    """The names in a text file, one a line; lines in which nothing is seen, and comments, are passed over.

    Where a line looks like more than a name (a bullet, quotes, commas …), stderr says what was read.

    Raises:
        ValueError: if the file is not there, too large, no text, or JSON; option and file are named.
    """
    lines = read_lines(path, option)
    if lines and lines[0][0] in "[{" and _is_json("\n".join(lines)):
        raise InputError(f"{option} {path}: a JSON file; expected one name a line, without brackets and quotes")
    lines = [line for line in lines if not COMMENT.match(line) and clean_name(line)]
    names = list(map(clean_name, lines))
    if marked := [name for line, name in zip(lines, names, strict=True) if MARKED.match(line)]:
        count = f"{len(names):,} name{'s' * (len(names) > 1)}, one a line{', such as' * (len(marked) < len(names))}"
        console.tell("note", f"{option} {path}: {count}: {', '.join(map(brief, marked[:SHOWN]))}")
    return names


def read_classes(path: Path) -> list[str]:
    """`--classes`: names as `read_name_list` has them, each once.

    Raises:
        ValueError: as `read_name_list`, and if there is no name, or one stands there twice.
    """
    found = read_name_list(path, "--classes")
    try:
        return check_names(found)
    except ValueError as error:
        raise InputError(f"--classes {path}: {error}") from error


def read_lines(path: Path, option: str) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        ValueError: if the file is not there, too large or no text; option and file are named.
    """
    content = _bytes(path, option)
    try:
        text = decode(content)
    except ValueError as error:
        raise InputError(f"{option} {path}: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_digests(path: Path) -> set[str]:
    """`--exclude`: SHA-256 of the images that a file names, one per line, by path or by that digest.

    Raises:
        ValueError: if the file or an image is not there or can't be read; it is named.
    """
    lines = read_lines(path, "--exclude")
    return {line.lower() if re.fullmatch("[0-9a-fA-F]{64}", line) else _digest(line, path) for line in lines}


def _words(own: object) -> bool:
    return isinstance(own, list) and all(isinstance(word, str) and clean_name(word) for word in own)


def _lists(table: dict[str, list[str]], where: str) -> dict[str, list[str]]:
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
        return hash_file(Path(line), sha256).hexdigest()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"--exclude {path}: {line[:200]!r} is neither a SHA-256 nor a file to read ({why})") from error
