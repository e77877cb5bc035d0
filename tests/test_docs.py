"""Pages hold together: links lead somewhere, names and figures exist, code runs, all is there."""

import ast
import doctest
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
from pkgutil import resolve_name

import pytest
from doc_pages import (
    ROOT,
    anchors,
    blocks,
    links,
    pages,
    prose_of,
    reference_names,
    text_of,
    toctree_entries,
)
from test_features_table import check_command, takes

import mlclassify
import mlclassify.metrics
import mlclassify.sklearn
import mlclassify.thresholds
from mlclassify.vision import all as everything

PAGES = pages()
NAMES = [name for names in reference_names().values() for name in names]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"


def short(path):
    return str(path.relative_to(ROOT))


# --- links


@pytest.mark.parametrize("page", PAGES, ids=short)
def test_every_relative_link_leads_somewhere(page):
    for shown, target in links(prose_of(page)):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.is_relative_to(ROOT) and file.is_file(), f"[{shown}]({target})"
        assert not anchor or anchor in anchors(file), f"[{shown}]({target}): {anchors(file)}"


def test_every_page_is_in_a_table_of_contents():
    reached, new = set(), [ROOT / "docs" / "index.md"]
    while new:
        page = new.pop()
        reached.add(page)
        if page.suffix == ".md":
            new += [found for found in toctree_entries(page) if found not in reached]
    shown = {p for p in PAGES if p.parent != ROOT or p.name != "CONTRIBUTING.md"}
    assert not sorted(short(page) for page in shown - reached)


# --- figures: what a link to a page of results shows, or a row that ends in one, stands there

_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*")
_VERSION = re.compile(r"\b(mlclassify|torch|fastai|scikit-learn) \d[\w.]*")


def cited(text):
    """(text with figures, target) of every link to results, and every row of a table with one."""
    for line in text.splitlines():
        row = line.startswith("|")
        for shown, target in links(line):
            if "results/" in target:
                yield (re.sub(r"\]\([^)]*\)", "]", line) if row else shown), target
    for shown, target in links(text.replace("\n", " ")):
        if "results/" in target:
            yield shown, target


@pytest.mark.parametrize(
    "page",
    [
        p
        for p in PAGES
        if p.suffix == ".md"
        and p.parent != RESULTS
        and p.name not in ("failures.md", "threat_model.md", "CHANGELOG.md")
    ],
    ids=short,
)
def test_every_figure_stands_on_the_page_it_is_from(page):
    for shown, target in cited(text_of(page)):
        there = (page.parent / target.partition("#")[0]).resolve()
        if there.suffix != ".md":
            continue
        known = set(_NUMBER.findall(there.read_text()))
        wanted = set(_NUMBER.findall(_VERSION.sub("", re.sub(r"`[^`]*`", "", shown))))
        assert wanted <= known | LABELS, f"{shown!r}: {wanted - known} not in {target}"


LABELS = {"18", "50", "2"}  # ResNet-18, 2 threads: words of rows, not figures


def test_essays_cite_their_figures():
    for page in (ROOT / "docs" / "essays").glob("*.md"):
        assert sum(bool(_NUMBER.search(shown)) for shown, _ in cited(text_of(page))) >= 5, page


# --- the reference


def test_every_name_of_the_reference_exists_and_has_a_docstring():
    assert len(NAMES) > 200 and len(set(NAMES)) == len(NAMES)
    for name in NAMES:
        assert (inspect.getdoc(resolve_name(name)) or "").strip(), name


def test_the_index_of_the_reference_lists_what_its_pages_document():
    text = (ROOT / "docs" / "reference" / "index.md").read_text()
    listed = re.findall(r"^   ~([\w.]+)$", text, re.MULTILINE)
    assert [name.replace(":", ".") for name in NAMES if name.replace(":", ".") not in listed] == []
    assert len(listed) == len(NAMES)


@pytest.mark.parametrize(
    "module",
    [everything, mlclassify, mlclassify.metrics, mlclassify.thresholds, mlclassify.sklearn],
    ids=lambda module: module.__name__,
)  # fmt: skip
def test_every_public_name_is_in_the_reference(module):
    documented = [resolve_name(name) for name in NAMES]
    others = re.findall(r"`([\w.]+)`", text_of(ROOT / "docs" / "reference" / "index.md").partition(
        "## Other names")[2])  # fmt: skip
    for name in module.__all__:
        thing = getattr(module, name)
        found = any(thing is one for one in documented) or name in others
        assert found, f"{name}: name it on a page of docs/reference and in the index there"


def test_every_public_module_is_in_the_reference():
    homes = {name.split(":")[0] for name in NAMES}
    used = {thing.__module__ for thing in map(vars(everything).get, everything.__all__)
            if getattr(thing, "__module__", "").startswith("mlclassify.")}  # fmt: skip
    assert used - {"mlclassify._core", "mlclassify.vision.all"} <= homes


def test_public_methods_have_docstrings():
    for cls in filter(inspect.isclass, map(resolve_name, NAMES)):
        for name, member in vars(cls).items():
            if not name.startswith("_") and inspect.isfunction(member):
                assert inspect.getdoc(getattr(cls, name)), f"{cls.__name__}.{name}"


OF_TORCH = ("mlclassify.tensor", "mlclassify.ndtensor", "mlclassify.functional")  # described there


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_described_or_said_to_be_those_of_another(name):
    thing = resolve_name(name)
    if name.split(":")[0] in OF_TORCH:
        return
    said = inspect.getdoc(thing) or ""
    sections = re.search(r"^(Parameters|Attributes)\n---", said, re.MULTILINE)
    try:
        arguments = set(inspect.signature(thing).parameters) - {"self", "args", "kwargs"}
    except ValueError:  # an exception, which takes a message
        return
    assert sections or len(arguments) < 2 or re.search(r"\bof `[\w.]+`|besides", said), name


def test_the_page_of_the_command_line_is_what_the_parser_says():
    path = ROOT / "docs" / "command_line.py"
    spec = importlib.util.spec_from_file_location("command_line", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), f"run python {short(path)}"


# --- code on pages

METHODS_OF = {"learn": everything.Learner, "dls": everything.DataLoaders,
              "interp": everything.Interpretation, "bears": everything.DataBlock}  # fmt: skip


def called(node):
    """What a call of a page's code calls, if that is of the library."""
    if isinstance(node.func, ast.Name):
        thing = vars(everything).get(node.func.id)
        return thing if getattr(thing, "__module__", "").startswith("mlclassify") else None
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        owner = METHODS_OF.get(node.func.value.id) or vars(everything).get(node.func.value.id)
        home = getattr(owner, "__module__", None) or ""
        return getattr(owner, node.func.attr) if home.startswith("mlclassify") else None
    return None


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.suffix == ".md" and blocks(p, "python")], ids=short
)
def test_python_on_pages_calls_what_there_is(page):
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            thing = called(node) if isinstance(node, ast.Call) else None
            for keyword in node.keywords if thing else ():
                free = any(
                    p.kind is p.VAR_KEYWORD for p in inspect.signature(thing).parameters.values()
                )
                assert free or takes(thing, keyword.arg), f"{ast.unparse(node)}: {keyword.arg}"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.suffix == ".md" and blocks(p, "pycon")], ids=short
)
def test_sessions_on_pages_print_what_they_print(page):
    space = {}
    for i, session in enumerate(blocks(page, "pycon")):
        test = doctest.DocTestParser().get_doctest(
            session, space, f"{page.name}[{i}]", str(page), 0
        )
        said = []
        doctest.DocTestRunner().run(test, out=said.append, clear_globs=False)
        assert not said, "".join(said)
        space = test.globs


def test_commands_on_pages_can_be_said():
    checked = 0
    for page in (p for p in PAGES if p.suffix == ".md"):
        for line in re.findall(r"^    (mlclassify .*)$", text_of(page), re.MULTILINE):
            words = shlex.split(line, comments=True)
            check_command([words[1], *(word for word in words if word.startswith("--"))])
            checked += 1
    assert checked >= 10


# --- the first page


def test_the_first_page_is_one_screen_with_a_picture():
    text = README.read_text()
    assert len(text.splitlines()) <= 85
    pictures = [target for _, target in re.findall(r"!\[(.*?)\]\((\S+)\)", text)]
    assert pictures and all((ROOT / target).stat().st_size < 150_000 for target in pictures)


def test_the_code_of_the_first_page_runs(place, monkeypatch):
    monkeypatch.chdir(place)
    (code,) = blocks(README, "python")
    for said, small in (("1200", "40"), ("12, 3e-3", "1, 3e-3"), ("Resize(96)", "Resize(32)")):
        assert code.count(said) == 1
        code = code.replace(said, small)
    space = {}
    with pytest.warns(mlclassify.metrics.MLClassifyWarning):  # few bears to choose a threshold from
        exec(compile(code, "README.md", "exec"), space)
    assert set(space["labels"]) <= set(space["dls"].vocab) and len(space["mask"]) == 3
    saved = mlclassify.load_learner(space["saved"])
    assert list(saved.dls.vocab) == ["black", "grizzly", "teddy"]


# --- pictures


def test_drawings_are_small():
    pictures = [*(ROOT / "docs").rglob("*.svg"), *(ROOT / "docs").rglob("*.png")]
    drawn = [p for p in pictures if "_build" not in p.parts]
    assert len(drawn) >= 4 and all(p.stat().st_size < 150_000 for p in drawn)


# --- the site


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    for needed in ("sphinx", "myst_nb", "furo", "latex2mathml"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"no {needed}: pip install 'mlclassify[docs]'")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *"-q -W --keep-going -c docs .".split(),
         str(tmp_path / "html")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    for page in ("index.html", "docs/index.html", "README.html", "docs/reference/learner.html"):
        assert (tmp_path / "html" / page).is_file()
    learner = (tmp_path / "html" / "docs" / "reference" / "learner.html").read_text()
    assert 'id="mlclassify.learner.Learner.fine_tune"' in learner
