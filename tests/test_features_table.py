"""The table of docs/fastai.md names what can be imported and called so, and tests that exist."""

import inspect
import re
from functools import reduce
from pkgutil import resolve_name

from doc_tables import DOCS, check_tests_exist, named_tests, table_rows

from mlclassify.__main__ import parser
from mlclassify.vision import all as everything

TEXT = (DOCS / "fastai.md").read_text()
ROWS = table_rows(TEXT.partition("## What differs")[0])
NAMES = [code for _, here, _ in ROWS for code in re.findall("`([^`]+)`", here)]


def commands():
    """The commands of the command line, and the options of each."""
    (choices,) = (a.choices for a in parser()._subparsers._group_actions)
    return {name: set(command._option_string_actions) for name, command in choices.items()}


def find(name):
    """Return what a dotted name of the table means: of the star import, or of a module."""
    if name.startswith("mlclassify."):
        return resolve_name(name)
    return reduce(getattr, name.split("."), everything)


def takes(thing, argument):
    """Whether a function, or a class when it is made, has an argument of this name."""
    return argument in inspect.signature(thing).parameters


def check_command(words):
    command, *options = words
    assert command in commands() and set(options) <= commands()[command], words


def check_name(code):
    """Check one name: ``Resize(method=, pad_mode=)``, ``Recorder.plot_loss``."""
    name, arguments = re.fullmatch(r"([\w.]+)(?:\((.*)\))?", code).groups()
    thing = find(name)
    for argument in re.findall(r"(\w+)=", arguments or ""):
        assert takes(thing, argument), f"{code}: {argument}"


def test_every_row_has_a_name_and_a_test():
    assert len(ROWS) > 90
    for row in ROWS:
        assert len(row) == 3 and re.search("`.+`", row[1]) and named_tests(row[2]), row


def test_every_test_of_the_table_exists():
    check_tests_exist(TEXT)


def test_everything_that_is_named_here_can_be_called_so():
    for code in NAMES:
        if code.startswith("mlclassify "):
            check_command(code.split()[1:])
        else:
            check_name(code)


KINDS = ("data.split", "data.stratify", "vision.augment", "steps", "tracker", "loggers", "losses",
         "optim")  # fmt: skip


def test_every_splitter_transform_callback_loss_and_optimizer_has_a_row():
    homes = {f"mlclassify.{kind}" for kind in KINDS}
    public = {name for name in everything.__all__
              if getattr(getattr(everything, name), "__module__", "") in homes}
    missing = public - {re.split(r"[(.]", code)[0] for code in NAMES}
    assert len(public) > 40 and not missing, f"add rows of {missing} to docs/fastai.md"


def test_every_command_has_a_row():
    assert set(commands()) == {
        code.split()[1] for code in NAMES if code.startswith("mlclassify ")
    }  # fmt: skip
