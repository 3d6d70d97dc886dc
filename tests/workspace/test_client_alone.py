"""The client's tests say which of them need our own server, for where the client stands alone."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def imported(file):
    """What is imported as the file is loaded."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def left_out(conftest):
    [names] = [
        ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(conftest.read_text("utf-8")))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "collect_ignore"
    ]
    return names


@pytest.mark.parametrize("folder", ["client", "robots"])
def test_those_that_import_core_are_left_out_where_there_is_none(folder):
    asking = [
        file.name
        for file in sorted((TESTS / folder).glob("test_*.py"))
        if any(name.partition(".")[0] == "offboard_core" for name in imported(file))
    ]
    assert left_out(TESTS / folder / "conftest.py") == asking
