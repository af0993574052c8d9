"""Paragraphs of pages: one width, lists and code and tables left as what they are."""

from jepa_rl.scripts.reporting.paragraphs import WIDTH, completeness, filled, listed, reflowed


def test_words_in_a_row():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_paragraphs_and_entries_are_filled_and_nothing_else_is_touched():
    words = "word " * 40
    code, table, head = "    x = 1\n    y = 2", "| a | b |\n| --- | --- |", "# " + words.strip()
    text = "\n\n".join([head, f"short\n{words}", f"- one\n  {words}\n- two", code, table])
    first, paragraph, entries, *rest = reflowed(text).split("\n\n")
    assert first == head
    assert rest == [code, table]
    assert paragraph.split() == ["short", *words.split()]
    assert max(map(len, paragraph.splitlines())) <= WIDTH < len(words)
    lines = entries.splitlines()
    assert lines[0].startswith("- one word")
    assert lines[1].startswith("  word")
    assert lines[-1] == "- two"


def test_a_grid_is_complete_when_all_of_it_is_done():
    grid = {("a", 0), ("a", 1)}
    assert completeness({*grid, ("quick-a", 0)}, grid) == "The grid is complete: 2 runs."
    assert completeness({("a", 1), ("b", 0)}, grid).startswith("**The grid is not complete: 1 of 2 runs.**")


def test_addresses_are_not_broken():
    address = "[a](" + "x-" * 80 + ")"
    assert address in filled(f"see {address} there").splitlines()
