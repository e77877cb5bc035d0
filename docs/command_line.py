"""Writes docs/reference/command_line.md from the parser: ``python docs/command_line.py``."""

import argparse
from pathlib import Path

from mlclassify.__main__ import parser

PAGE = Path(__file__).parent / "reference" / "command_line.md"
HEAD = """\
# Command line

What `mlclassify COMMAND --help` says. Results go to stdout, and with `--json` nothing else does;
what else is said goes to stderr. The status is 0 when a command did what it was asked, 1 when it
could not, 2 when the command line makes no sense, 130 when it was interrupted. Examples:
[Put a model to work](../howto/deployment.md), [From the web to labels](../howto/collecting.md).
"""


def written(action):
    """What is typed for an argument: ``--bs BS``, ``PHOTOS ...``."""
    name = ", ".join(action.option_strings)
    value = action.metavar or ("|".join(action.choices) if action.choices else action.dest.upper())
    if action.nargs == 0:
        return name
    more = " ..." if action.nargs in ("+", "*", argparse.REMAINDER) else ""
    return f"{name} {value}{more}".strip()


def section(name, command):
    """A command: what it does, and a row for each argument."""
    lines = [
        f"## mlclassify {name}",
        "",
        f"{command.description[0].upper()}{command.description[1:]}.",
        "",
        "| argument | is |",
        "|---|---|",
    ]
    for action in command._actions:
        if action.dest == "help":
            continue
        text = (action.help or "").replace("%%", "%") % {**vars(action), "prog": command.prog}
        code = written(action).replace("|", "\\|")
        needed = "needed" if action.required and action.option_strings else ""
        lines.append(f"| `{code}` | {'; '.join(t for t in (text, needed) if t)} |")
    return "\n".join(lines) + "\n"


def page():
    """The whole page."""
    (commands,) = (a.choices for a in parser()._subparsers._group_actions)
    return "\n".join([HEAD, *(section(name, command) for name, command in commands.items())])


if __name__ == "__main__":
    PAGE.write_text(page())
