"""Files of names: comments are passed over, and what looks like more than a name is said back."""

import pytest

from hf_unlearn.cli.inputs import read_classes, read_name_list
from tests.support.command_line import hf_unlearn_here


@pytest.mark.parametrize(
    ("text", "names", "told"),
    [
        ("rooster, dragon, cat", ["rooster, dragon, cat"], "1 name, one per line: 'rooster, dragon, cat'"),
        ("cat;dog", ["cat;dog"], "1 name, one per line: 'cat;dog'"),
        ("- cat\n- dog", ["- cat", "- dog"], "2 names, one per line: '- cat', '- dog'"),
        ("\u2022 cat\ndog", ["\u2022 cat", "dog"], "2 names, one per line, such as: '\u2022 cat'"),
        ("1. a\n2. b\n3. c\n4. d", ["1. a", "2. b", "3. c", "4. d"], "4 names, one per line: '1. a', '2. b', '3. c'"),
        ("'cat'\n\"dog\",", ["'cat'", '"dog",'], "2 names, one per line: \"'cat'\", '\"dog\",'"),
        ("Class\ncat\ndog", ["Class", "cat", "dog"], "3 names, one per line, such as: 'Class'"),
        ("cat\t0\ndog\t1", ["cat 0", "dog 1"], "2 names, one per line: 'cat 0', 'dog 1'"),
        ("#cat", ["#cat"], "1 name, one per line: '#cat'"),
        ("# pets\ncat\n#\n  # more\ndog", ["cat", "dog"], ""),
        ("t-shirt\n7 up\nC# code\nDevil's claw\nclass room\n101 dalmatians\n\u72ac", None, ""),
    ],
)
@pytest.mark.parametrize("read", [read_classes, lambda path: read_name_list(path, "--classes")])
def test_comments_are_no_names_and_what_looks_like_more_than_a_name_is_said_back(
    tmp_path, capsys, text, names, told, read
):
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    assert read(path) == (names or text.splitlines())
    assert capsys.readouterr().err == (f"note: --classes {path}: {told}\n" if told else "")


def test_a_file_of_comments_alone_holds_no_name(tmp_path):
    (tmp_path / "names.txt").write_text("# pets\n")
    assert read_name_list(tmp_path / "names.txt", "--forget-file") == []
    with pytest.raises(ValueError, match="--classes"):
        read_classes(tmp_path / "names.txt")


@pytest.mark.parametrize(("count", "more"), [(5, ""), (7, " and 2 more")])
def test_forget_says_the_first_names_back_and_counts_the_rest(tmp_path, count, more):
    names = ["dagger", "beer, mug", "red wine", "cigar", "pistol", "whisky", "sword"][:count]
    (tmp_path / "names.txt").write_text("\n".join(names))
    done = hf_unlearn_here("forget", "--forget-file", tmp_path / "names.txt", "--out", tmp_path / "edit")
    assert f"\nforgotten: 'dagger', 'beer, mug', 'red wine', 'cigar', 'pistol'{more}\n" in done.stdout
    assert f"--forget-file {tmp_path}/names.txt: {count} names, one per line, such as: 'beer, mug'\n" in done.stderr
