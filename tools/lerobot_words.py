"""Write ``docs/reference/lerobot.md``: what becomes of each thing that a LeRobot checkpoint says of itself.

It is made of the tables that the loader obeys::

    uv run tools/lerobot_words.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from offboard_lerobot import adapters, steps, words
from offboard_lerobot.versions import Release, releases

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "lerobot.md"

_HEAD = """# What a LeRobot checkpoint says of itself

Each field of a checkpoint's `config.json` and each step that LeRobot registers for its processors is dealt with by one
word, in every policy type of the releases of LeRobot that are served. Nothing is dropped: what has no word here and
asks for something (a number, a flag, a text) is refused before the server listens, by its name and value. This page is
made of the tables that the loader obeys (`tools/lerobot_words.py`);
[how to serve a checkpoint](../how-to/serve-lerobot.md) is told elsewhere.

The release that wrote a checkpoint is told by the names that it alone has. What another release does not know is left
out if it asks for nothing there, and refused if it does; a field that a checkpoint leaves to its release is filled in
with that release's default where the releases differ. `LeRobotLoader.environment` says which release serves given files
(that which wrote them, if it can), without LeRobot.
"""


_PATCHED = "served where the transformers that it patched is installed, which no package index has"
#: What becomes of types in the older release, where another word than "served" is due.
_OF_OLD = {"groot": "refused, with its steps", **dict.fromkeys(("pi0", "pi05", "pi0_fast"), _PATCHED)}


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "## Policy types\n", _types(), "## Fields of config.json\n", *map(_word, words.WORDS)]
    parts += ["### Within rtc_config\n", _within(), "### Of types that are refused\n", _unserved()]
    return "\n".join([*parts, "## Adapters\n", _adapters(), "## Steps of the processors\n", _steps()])


def _types() -> str:
    old, new = releases()
    lines = [f"| type | {old.name} | {new.name} |", "|---|---|---|"]
    for kind in sorted({*old.types, *new.types}):
        if kind in words.NO_POLICIES:
            cells = [f"refused: {words.NO_POLICIES[kind]}" if kind in each.types else "" for each in (old, new)]
        else:
            cells = [_OF_OLD.get(kind, "served") if kind in old.types else "", "served" if kind in new.types else ""]
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    return "\n".join(
        [
            *lines,
            "",
            "A type that neither has is a third party's, and served where its package (`lerobot_policy_…`) is",
            "installed, or refused by its name.",
            "What was run here and what only read stands in [the how-to](../how-to/serve-lerobot.md#which-policies); a",
            "type whose processors have steps that are refused below is refused with them.",
            "",
        ]
    )


def _word(word: str) -> str:
    lines = [f"### {word}\n", f"{words.WORDS[word][0].upper()}{words.WORDS[word][1:]}.\n"]
    names = sorted(name for name, of in words.listed().items() if of == word)
    if word == "refused":
        lines += ["| field | of | served at | else refused, since | what to do |", "|---|---|---|---|---|"]
        for name in names:
            refusal = words.REFUSED[name]
            neutral = ", ".join(f"`{_shown(value)}`" for value in refusal.neutral)
            neutral += f"; by {refusal.unless} at any" if refusal.unless else ""
            lines.append(f"| `{name}` | {_of(name)} | {neutral} | {refusal.why} | {refusal.do} |")
    elif word == "replaced":
        lines += ["| field | of | LeRobot is given |", "|---|---|---|"]
        lines += [f"| `{n}` | {_of(n)} | {_given(n)} |" for n in names]
    else:
        lines += ["| field | of |", "|---|---|"]
        lines += [f"| `{name}` | {_of(name)} |" for name in names]
    return "\n".join([*lines, ""])


def _given(name: str) -> str:
    value = words.REPLACED[name]
    return "the checkpoint's own folder" if value == "" else f"`{_shown(value)}`"


def _shown(value: object) -> str:
    return json.dumps(value)


def _of(listed: str) -> str:
    """Which policy types have the field, in which releases."""
    only, _, field = listed.rpartition(".")
    having = {each.name: _types_with(each, field, only) for each in releases()}
    if all(set(each.served) <= {*having[each.name]} for each in releases()):
        return "all"
    found = sorted({kind for kinds in having.values() for kind in kinds})
    return ", ".join(kind + _when(kind, having) for kind in found)


def _types_with(release: Release, field: str, only: str) -> list[str]:
    kinds: Iterable[str] = [only] if only else release.served
    return [
        kind
        for kind in kinds
        if field in release.types.get(kind, ()) and (only or f"{kind}.{field}" not in words.listed())
    ]


def _when(kind: str, having: dict[str, list[str]]) -> str:
    """In which release alone, where a type of both has the field in one."""
    both = [each.name for each in releases() if kind in each.types]
    there = [name for name in both if kind in having[name]]
    return "" if there == both else f" ({', '.join(there)})"


def _within() -> str:
    lines = [
        "What has no word here is refused before the server listens.\n",
        "| field | what becomes of it |",
        "|---|---|",
    ]
    return "\n".join([*lines, *(f"| `{name}` | {what} |" for name, what in words.GUIDANCE.items()), ""])


def _unserved() -> str:
    """A field of a type that is refused has no other word."""
    lines = ["They are refused whole, whatever their fields say.\n", "| type | fields |", "|---|---|"]
    for kind in sorted(words.NO_POLICIES):
        names = sorted({name for each in releases() for name in each.types.get(kind, ())})
        lines.append(f"| `{kind}` | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join([*lines, ""])


def _adapters() -> str:
    lines = [
        "Where `use_peft` is true, `adapter_config.json` says which weights are changed, and "
        "`adapter_model.safetensors` by how much. PEFT gets the fields that are needed, and what has no word here and "
        "asks for something is refused.\n",
        "| word | fields of adapter_config.json |",
        "|---|---|",
    ]
    for word in dict.fromkeys(adapters.FIELDS.values()):
        names = ", ".join(f"`{name}`" for name in sorted(adapters.FIELDS) if adapters.FIELDS[name] == word)
        lines.append(f"| {word} | {names} |")
    return "\n".join([*lines, ""])


def _steps() -> str:
    old, new = releases()
    lines = [
        "A step is **run** by LeRobot with the options that are named, **left out** where there is no work for it at "
        "an inference, or **refused**. A step that says `enabled: false` is left out, and one that is given by its "
        "class is refused: a checkpoint brings no code. Options that name what lies on the Hub "
        f"({', '.join(f'`{o}`' for o in sorted(steps.HUB))}) are found as fields with that word are; "
        + " and ".join(f"`{option}` is served at `{_shown(value)}` alone" for option, value in steps.ONLY.items())
        + ". LeRobot saves the options of "
        + " and ".join(f"`{name}`" for name in steps.FORGOTTEN)
        + " nowhere: they are served where the config says what these steps are read back with, or where somebody has "
        "written it there. "
        + " and ".join(f"`{name}`" for name in words.STATE_IN_PROMPT.values())
        + " are shown the state as in training ([how that is told]"
        "(../how-to/serve-lerobot.md#the-state-in-the-prompt)). Relative actions are served where both steps "
        "that make them so and undo it are enabled. `rename_map` decides what the cameras are called: as in the "
        "data set.\n",
        f"| step | {old.name} | {new.name} | word | options, or why |",
        "|---|---|---|---|---|",
    ]
    for name in sorted({*old.steps, *new.steps}):
        there = ["yes" if name in each.steps else "" for each in (old, new)]
        word = steps.word_of(name)
        why = steps.NOT_RUN[name].why if name in steps.NOT_RUN else steps.LEFT_OUT.get(name)
        options = ", ".join(f"`{option}`" for option in sorted(steps.RUN.get(name, ())))
        lines.append(f"| `{name}` | {there[0]} | {there[1]} | {word} | {why or options} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
