"""DESIGN.md gives a reason for every package that the project asks for, make help every command."""

import re
import subprocess
import tomllib
from pathlib import Path

from doc_tables import table_rows

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "DESIGN.md").read_text().partition("## Parts, not own code")[2]
ROWS = table_rows(TEXT.partition("\n## ")[0])
REASONS = {name: reason for names, reason in ROWS for name in re.findall("`([^`]+)`", names)}
OPTIONAL = {"tensorboardX", "wandb"}  # what a callback hands to, for who has it


def packages():
    """What pyproject.toml names, and what .ci/run installs besides."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["build-system"]["requires"], *project["project"]["dependencies"],
             *(p for extra in project["project"]["optional-dependencies"].values() for p in extra)]
    script = re.sub(r"\\\n", "", (ROOT / ".ci" / "run").read_text())
    debian = [p for line in re.findall(r"apt-get -qq install -y ([\w. -]+)", script)
              for p in line.split()]
    asked += re.findall(r"pip install --quiet '([\w.-]+)", script)
    return {re.match(r"[\w.-]+", name)[0] for name in asked} | set(debian)


def test_every_package_has_a_reason():
    assert len(packages()) > 30
    assert packages() - set(REASONS) == set(), "add it to Parts in DESIGN.md, with its reason"
    assert all(len(reason) > 5 for reason in REASONS.values())


def test_no_reason_is_left_of_a_package_that_is_gone():
    assert set(REASONS) - packages() == OPTIONAL


def test_help_lists_every_command():
    """A target that is part of another, as lint-c is of lint, need not be named."""
    targets = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, text=True, capture_output=True)
    listed = set(re.findall(r"make ([\w-]+)", shown.stdout))
    assert listed <= set(targets)
    missing = {name for name in targets if name not in listed and name.split("-")[0] not in listed}
    assert missing == {"help"}
