"""A million rows and a million photos: what time and memory `mlclassify merge` and `score` take.

    python benchmarks/million.py merge FOLDER     # scores of 80 labels, as CSV and as Parquet
    python benchmarks/million.py photos FOLDER    # drawn photos, scored by a ResNet-18

FOLDER is made, holds up to 6 GB meanwhile, and is removed. Each command is a process of its own, of
one thread; its peak is VmHWM. Files are read from the disk, not from the cache that writing left.
"""

import argparse
import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from mlclassify import _core, load_learner
from mlclassify.__main__ import main as mlclassify
from mlclassify.data.samples import drawn_bears
from mlclassify.scoring.journal import Journal
from mlclassify.scoring.parts import Part
from mlclassify.vision.image import open_image

LABELS, SHARDS, BATCH = 80, 8, 250
DISTINCT, SIZE, PIXELS = 2000, 64, 32  # photos that differ, their sides, those of what the net sees
SIZES = {"merge": (100_000, 1_000_000), "photos": (10_000, 100_000, 1_000_000)}
CHILD = """
import json, resource, sys
from mlclassify.__main__ import main
status = main(sys.argv[2:])
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
cpu = resource.getrusage(resource.RUSAGE_SELF)
with open(sys.argv[1], "w") as file:
    json.dump({"peak": int(peak) * 1024, "cpu": cpu.ru_utime + cpu.ru_stime}, file)
sys.exit(status)
"""


def start(folder, *arguments):
    """Start `mlclassify` in a process of its own, which leaves in told.json what it took."""
    command = [sys.executable, "-c", CHILD, folder / "told.json", *arguments]
    env = {**os.environ, "MLCLASSIFY_NUM_THREADS": "1", "MLCLASSIFY_PROGRESS": "0"}
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, env=env)


def run(folder, *arguments):
    """Run `mlclassify` to its end; return wall and CPU seconds and the peak in bytes."""
    since = time.perf_counter()
    if start(folder, *arguments).wait():
        raise RuntimeError(f"mlclassify {arguments[0]} failed")
    told = json.loads((folder / "told.json").read_text())
    return time.perf_counter() - since, told["cpu"], told["peak"]


def report(what, n, wall, cpu, peak):
    print(f"{what:<28} {n:>9} {wall:8.1f} {cpu:8.1f} {n / cpu:9.0f} {peak / 1e6:8.1f}", flush=True)


# --- scores


def measure_merge(folder, sizes):
    """Merge parts of scores, of each size and kind."""
    for ending, n in itertools.product(("csv", "parquet"), sizes):
        parts = [write_part(folder / f"{i}.{ending}", i, n) for i in range(1, SHARDS + 1)]
        seconds, there = read_all(parts)
        print(f"{there / 1e6:.0f} MB of {ending}, read from the disk at {there / 1e6 / seconds:.0f}"
              " MB/s", flush=True)  # fmt: skip
        forget(parts)
        out = folder / f"all.{ending}"
        report(f"merge --out all.{ending}", n, *run(folder, "merge", *parts, "--out", out))
        for path in (*parts, out):
            path.unlink()


def write_part(path, shard, n):
    """Write a part as `mlclassify score` does, of probabilities and truths that are drawn."""
    labels = [f"label{i:02}" for i in range(LABELS)]
    part = Part(model="0" * 64, files="0" * 64, n=n, shard=shard, shards=SHARDS,
                start=n * (shard - 1) // SHARDS, stop=n * shard // SHARDS, batch=BATCH,
                labels=labels, thresh=[0.5] * LABELS, label_delim=" ", labelled=True, novelty=False)
    rng = np.random.default_rng(shard)
    with Journal(path, part, resume=False) as journal:
        for first in range(part.start, part.stop, BATCH):
            numbers = range(first, min(first + BATCH, part.stop))
            journal.append(list(drawn_rows(rng, labels, numbers)))
        journal.finish()
    return path


def drawn_rows(rng, labels, numbers):
    """Rows of scores: a label is there as often as its probability says."""
    probs = 1 / (1 + np.exp(-rng.normal(-3, 2, (len(numbers), LABELS)).astype(np.float32)))
    names = np.array(labels, object)
    for i, p, there in zip(numbers, probs, rng.random(probs.shape) < probs):
        texts = (" ".join(names[p > 0.5]), " ".join(names[there]))
        yield [f"photos/{i:07}.jpg", *texts, *(f"{x:.9g}" for x in p.tolist()), ""]


def forget(paths):
    """Have files written, and no longer held in memory by the system."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_all(paths):
    """Read files from the disk; return the seconds and how many bytes."""
    forget(paths)
    since, n = time.perf_counter(), 0
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while some := file.read(1 << 22):
                n += len(some)
    return time.perf_counter() - since, n


# --- photos


def measure_photos(folder, sizes):
    """Score lists of each size; kill the longest half way and resume it."""
    drawn_bears(folder / "drawn", DISTINCT, seed=1, size=SIZE)
    model, photos = folder / "model.safetensors", folder / "photos"
    mlclassify(["train", str(folder / "drawn"), "--folder", "images", "--size", str(PIXELS),
                "--bs", "64", "--epochs", "1", "--no-pretrained", "--out", str(model)])  # fmt: skip
    shares(model, sorted((folder / "drawn/images").iterdir()))
    names = copy_photos(sorted((folder / "drawn/images").iterdir()), photos, max(sizes))
    for n in sizes:
        (folder / "list.txt").write_text("".join(f"{name}\n" for name in names[:n]))
        out = folder / f"{n}.csv"
        command = ["score", "--model", model, "--files", folder / "list.txt", "--out", out,
                   "--bs", BATCH, "--folder", photos, "--resume"]  # fmt: skip
        kept = kill_half_way(folder, command, out, n) if n == max(sizes) else 0
        report(f"score, {kept} kept" if kept else "score", n - kept, *run(folder, *command))
        check_scores(out, names[:n])


def shares(model, files):
    """Time what a photo takes: to be decoded, to go through the net, and all of `predict`."""
    learn = load_learner(model)
    batches = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
    loaded = [np.array(batch.x) for batch in learn.dls.test_dl(files).stream(0, 0)]
    for what, step, work in (
        ("decode", lambda batch: [open_image(file) for file in batch], batches),
        ("ResNet-18", learn.model.forward, loaded),
        ("all of predict", learn.predict, batches),
    ):
        step(work[0])
        since = time.process_time()
        for some in work:
            step(some)
        cpu = time.process_time() - since
        print(f"{what:<28} {1e6 * cpu / len(files):9.0f} us of CPU a photo", flush=True)


def copy_photos(files, folder, n):
    """Write `n` files, the drawn ones over and over; return their names, a thousand a folder."""
    contents, names = [file.read_bytes() for file in files], []
    for i, content in zip(range(n), itertools.cycle(contents)):
        names.append(f"{i // 1000:03}/{i:06}.jpg")
        if i % 1000 == 0:
            (folder / names[-1]).parent.mkdir(parents=True)
        (folder / names[-1]).write_bytes(content)
    return names


def kill_half_way(folder, command, out, n):
    """Begin to score, kill the process when half of the rows are there; return how many are."""
    child, journal = start(folder, *command), out.with_name(f"{out.name}.partial")
    while child.poll() is None and rows_in(journal) < n // 2:
        time.sleep(1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    return rows_in(journal) // BATCH * BATCH


def rows_in(journal):
    if not journal.exists():
        return 0
    with open(journal, "rb") as file:
        return sum(some.count(b"\n") for some in iter(lambda: file.read(1 << 20), b"")) - 1


def check_scores(out, names):
    """Compare each row with that of the same photo in the first round, but for its name."""
    first = []
    with open(out, newline="") as file:
        for i, row in enumerate(csv.reader(itertools.islice(file, 1, None))):
            if i < DISTINCT:
                first.append(row[1:])
            if row[0] != names[i] or row[1:] != first[i % DISTINCT]:
                raise AssertionError(f"row {i} of {out} is wrong: {row}")
    if i + 1 != len(names):
        raise AssertionError(f"{out} must have {len(names)} rows, got {i + 1}")
    print(f"{len(names)} rows are those of the same photos, in their order", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=SIZES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", help="instead of up to a million")
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    _core.set_num_threads(1)
    measure = {"merge": measure_merge, "photos": measure_photos}[options.what]
    try:
        print(f"{'':<28} {'rows':>9} {'wall s':>8} {'CPU s':>8} {'rows/CPU s':>9} {'peak MB':>8}")
        measure(options.folder, options.sizes or SIZES[options.what])
    finally:
        shutil.rmtree(options.folder)


if __name__ == "__main__":
    main()
