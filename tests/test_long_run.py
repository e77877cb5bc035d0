"""A minute of the long run (`make long-run` is half an hour): nothing grows."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from long_run import WATCHED, settled, slope, steady

HERE = Path(__file__).resolve().parent


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_nothing_grows(tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", HERE / "long_run.py", "--minutes", "1",
                           "--out", tmp_path], check=False, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    after = settled(settled(json.loads((tmp_path / "long_run.json").read_text())["samples"]))
    for what in ("fds", "threads"):
        assert len({s[what] for s in after}) == 1, done.stdout
    assert slope(after, "blocks")[0] < 10, done.stdout  # of a cycle; objects are one or two each
    assert slope(after, "rss")[0] < 50, done.stdout  # kB of a cycle; the smallest plan is larger
    assert (tmp_path / "long_run.png").stat().st_size and "± " in done.stdout


def test_a_slope_and_its_error(rng):
    noise = rng.normal(size=1000)
    samples = [{"cycle": i, "rss": 3 * i + 50 * noise[i], "fds": 4} for i in range(1000)]
    growth, error = slope(samples, "rss")
    assert abs(growth - 3) < 3 * error and 0.25 < error / (50 * np.sqrt(12) / 1000**1.5) < 4
    assert slope(samples, "fds") == (0, 0) == (steady(samples, "fds"), 0)
    steps = [{"cycle": i, "rss": 100 * (i // 300)} for i in range(1000)]
    assert slope(steps, "rss")[0] > 0.2 and steady(steps, "rss") == 0
    assert set(WATCHED) == {"rss", "fds", "threads", "blocks"}
