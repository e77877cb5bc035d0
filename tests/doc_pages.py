"""What tests/test_docs.py reads pages with: links, headings, code, names of the reference."""

import re
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "notebooks", "benchmarks", "examples")
_FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def written_by_hand(path):
    return "_build" not in path.parts and ".ipynb_checkpoints" not in path.parts


def pages():
    """Every Markdown page and notebook of the project."""
    found = [*ROOT.glob("*.md"), *(f for folder in FOLDERS for kind in ("md", "ipynb")
                                   for f in (ROOT / folder).rglob(f"*.{kind}"))]  # fmt: skip
    return sorted(path for path in found if written_by_hand(path))


def text_of(path):
    """A page, or the Markdown cells of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def prose_of(path):
    """The text without blocks and pieces of code."""
    return re.sub(r"`[^`\n]*(\n[^`\n]*)?`", "", _FENCE.sub("", text_of(path)))


def links(text):
    """(shown, target) of every link and picture; those in what a link shows, too."""
    found = re.findall(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)", text)
    return found + [
        inner for shown, _ in found for inner in re.findall(r"\[([^\]]*)\]\((\S+)\)", shown)
    ]


def anchors(path):
    """What can stand behind # in the address of a page: a git host's words for its headings."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text_of(path)), re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in kept}


def blocks(path, language):
    """The blocks of code of a language, without what they are indented by."""
    found = [m for m in _FENCE.finditer(text_of(path)) if m.group(2) == language]
    return [re.sub(rf"^{m.group(1)}", "", m.group(3), flags=re.MULTILINE) for m in found]


def toctree_entries(path):
    """The pages that the toctrees of a page lead to."""
    entries = [
        re.sub(r".*<(.*)>", r"\1", line)  # Title <page>
        for body in blocks(path, "{toctree}")
        for line in body.splitlines()
        if line and not line.startswith(":")
    ]
    found = []
    for entry in entries:
        matches = [f for f in path.parent.glob(f"{entry}.*") if f.suffix in (".md", ".ipynb")]
        assert matches, f"{path}: no page {entry}"
        found += [f.resolve() for f in matches]
    return found


def reference_names():
    """The names that each page of the reference documents: {page: ['module:name', ...]}."""
    named = {}
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        entries = re.findall(
            r"automodule:: (\S+)\n   :members: ((?:.+\n)(?: {10,}.+\n)*)", page.read_text()
        )
        entries += re.findall(r"autoclass:: ([\w.]+)\.(\w+)", page.read_text())
        named[page.name] = [
            f"{module}:{name}"
            for module, names in entries
            for name in re.split(r",\s+", names.strip())
        ]
    return named
