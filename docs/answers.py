"""Draws the picture of the first page, what the code there answers: ``python docs/answers.py``.

It runs that code, which takes three minutes of a core, and shows the first twelve photos of those
that were kept aside.
"""

import os
import re
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
PICTURE = Path(__file__).parent / "answers.jpg"


def code_of_the_first_page():
    return re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)


def draw(learn, file):
    learn.show_results(max_n=12, nrows=2, shuffle=False, figsize=(11, 4.9))
    plt.savefig(file, dpi=90, bbox_inches="tight", facecolor="white", pil_kwargs={"quality": 82})
    plt.close()


def main():
    from mlclassify import set_seed

    set_seed(1)
    space = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        exec(compile(code_of_the_first_page(), "README.md", "exec"), space)  # noqa: S102, our own
        draw(space["learn"], PICTURE)
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
