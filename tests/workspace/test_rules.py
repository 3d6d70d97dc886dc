"""docs/reference/protocol.md and the tests name the same rules."""

import ast
import functools
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PROTOCOL = TESTS.parent / "docs" / "reference" / "protocol.md"
RULES = re.findall(r"^- \*\*([A-Z]-[0-9]+)\*\* ", PROTOCOL.read_text("utf-8"), re.MULTILINE)


@functools.cache
def claimed() -> list[tuple[str, str]]:
    """Every rule that a test carries by ``pytest.mark.rule("ID", …)``, with the test file."""
    return [
        (ast.literal_eval(argument), path.relative_to(TESTS).as_posix())
        for path in sorted(TESTS.rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.rule")
        for argument in node.args
    ]


def test_no_rule_is_written_twice() -> None:
    assert len(RULES) == len(set(RULES)) > 0


def test_every_rule_that_a_test_names_exists() -> None:
    assert [(rule, path) for rule, path in claimed() if rule not in RULES] == []


def test_every_rule_is_named_by_a_test() -> None:
    named = {rule for rule, _ in claimed()}
    assert [rule for rule in RULES if rule not in named] == []
