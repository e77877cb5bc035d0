"""How long functions and lines are: what `tests/test_sizes.py` holds and CONTRIBUTING.md promises.

    python tests/sizes.py [--longest 20]

A C function counts from its signature to its closing brace, a Python function by the lines of its
body without the docstring; blank lines never count. Both need only the house style: C as
clang-format leaves it, with the braces of a function in the first column.
"""

import argparse
import ast
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
WIDTH = 100
# The list of kernels is data: a kernel is a line, and what reads it goes by lines.
LISTS = {"csrc/kernels/kernels.def"}

ONE_LINE = re.compile(r"^(?:static |inline |const |unsigned )*[A-Za-z_].*\b(\w+)\(.*\) \{ .*\}$")


class Function(NamedTuple):
    lines: int
    name: str
    file: str
    line: int


def c_functions(text, file=""):
    """Every function that a C file defines."""
    lines = text.splitlines()
    found = []
    for at, line in enumerate(lines):
        if line == "{":
            found.append(c_function(lines, at, file))
        elif match := ONE_LINE.match(line):
            found.append(Function(1, match[1], file, at + 1))
    return found


def c_function(lines, brace, file):
    """The function whose opening brace is alone on line `brace`."""
    first = brace
    while first and lines[first - 1] and not lines[first - 1].startswith(("}", "#", "/*", " *")):
        first -= 1
    last = lines.index("}", brace)
    signature = re.sub(r"__attribute__\(\(.*?\)\)+ |BINDING\(", "", " ".join(lines[first:brace]))
    name = re.search(r"(\w+)[(,)]", signature)[1]
    return Function(sum(map(bool, lines[first : last + 1])), name, file, first + 1)


def python_functions(text, file=""):
    """Every function and method that a Python file defines, also within others."""
    lines = text.splitlines()
    return [
        python_function(node, lines, file)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
    ]


def python_function(node, lines, file):
    body = node.body[ast.get_docstring(node) is not None :]
    within = lines[body[0].lineno - 1 : body[-1].end_lineno] if body else []
    return Function(sum(map(bool, map(str.strip, within))), node.name, file, node.lineno)


def percentile(functions, part):
    """The smallest length that `part` of the functions do not exceed."""
    lengths = sorted(function.lines for function in functions)
    return lengths[max(0, -(-len(lengths) * part // 100) - 1)]


def all_functions(folder, endings, read):
    return [
        function
        for file in sorted((ROOT / folder).rglob("*"))
        if file.suffix in endings
        for function in read(file.read_text(), str(file.relative_to(ROOT)))
    ]


def sizes():
    """The functions of the C core and of the package, by language."""
    return {
        "C": all_functions("csrc", {".c", ".h"}, c_functions),
        "Python": all_functions("mlclassify", {".py"}, python_functions),
    }


def code_files():
    """Every file of code: what tests, benchmarks and examples hold, too."""
    folders = ("csrc", "mlclassify", "tests", "benchmarks", "examples")
    endings = {".c", ".h", ".def", ".py", ".pyi", ".sh", ".js", ".css", ".html"}
    files = [ROOT / "setup.py"]
    for folder in folders:
        files += [file for file in sorted((ROOT / folder).rglob("*")) if file.suffix in endings]
    return [file for file in files if str(file.relative_to(ROOT)) not in LISTS]


def wide_lines():
    """The lines of code that are wider than WIDTH, as `file:line`."""
    return [
        f"{file.relative_to(ROOT)}:{number}"
        for file in code_files()
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if len(line) > WIDTH
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--longest", type=int, default=0, help="functions to list of each language")
    arguments = parser.parse_args()
    for language, functions in sizes().items():
        half, most = percentile(functions, 50), percentile(functions, 90)
        print(f"{language}: {len(functions)} functions, median {half} lines, 90 % up to {most}")
        for function in sorted(functions, reverse=True)[: arguments.longest]:
            print(f"  {function.lines:4d}  {function.name}  {function.file}:{function.line}")
    for place in wide_lines():
        print("wide:", place)


if __name__ == "__main__":
    main()
