"""The engine beside torch's: training, inference, memory, threads, and every convolution alone.

    python benchmarks/engine.py PYTHON [--only NAME ...] [--rounds N] [--out FOLDER]

PYTHON is the interpreter of an environment with torch, torchvision, timm and fastai. Every side of
a comparison is a process of its own that lives through all rounds; setup and warm-up are not timed.
In a round all sides of a group take one turn each, so that what else happens on the machine hits
all of them. A row's figures are medians over the rounds, its ratio is theirs / ours (for memory
ours / theirs) of the medians, its spread the smallest and the largest ratio of a single round.

ROWS is the table of what is compared and of the ratio that each row has to reach. A row that
cannot be measured here is left out with its reason. --batch and --side shrink all of them, to try
things out.
"""

import argparse
import ctypes
import ctypes.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from bears import cpu_name
from PIL import Image

from mlclassify import _core

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Side:
    """What one process does: `worker.py` gets all of it as JSON."""

    program: str
    task: str = "train"
    arch: str = "resnet18"
    batch: int = 64
    side: int = 224
    layout: str = "channels_last"
    compiled: bool = False
    jemalloc: bool = False
    bf16: bool = False
    env: tuple = ()
    photos: str = ""

    def but(self, **changes):
        return replace(self, **changes)


@dataclass(frozen=True)
class Row:
    """A line of the table; of several `theirs` the best one of each round counts."""

    name: str
    what: str
    ours: Side
    theirs: tuple
    goal: float | None = None
    unit: str = "img/s"

    @property
    def group(self):
        """Rows of one group are measured together."""
        return self.name.split()[0]


OURS, TORCH = Side("engine_ours.py"), Side("peer_torch.py")
EAGER, COMPILED = TORCH.but(layout="NCHW"), TORCH.but(compiled=True)
JEMALLOC, BOTH = TORCH.but(jemalloc=True), COMPILED.but(jemalloc=True)
OURS_228, OURS_50 = OURS.but(side=228), OURS.but(arch="resnet50", batch=32)
MOBILE = {"mobilenetv3": "mobilenetv3_large_100", "efficientnet": "efficientnet_b0"}  # timm's names
CONVNEXT = {"arch": "convnext_tiny", "batch": 32}
INFER, PREDICT = {"task": "infer"}, {"task": "predict", "batch": 1, "side": 228}
OURS_AVX2 = OURS.but(env=(("MLCLASSIFY_ISA", "avx2"),))
TORCH_AVX2 = TORCH.but(env=(("ONEDNN_MAX_CPU_ISA", "AVX2"), ("ATEN_CPU_CAPABILITY", "avx2")))
OURS_ALONE = OURS.but(env=(("MLCLASSIFY_NUM_THREADS", "1"),))
OURS_PAIR = OURS.but(env=(("MLCLASSIFY_NUM_THREADS", "2"),))
TORCH_ALONE = TORCH.but(env=(("OMP_NUM_THREADS", "1"),))
TORCH_PAIR = TORCH.but(env=(("OMP_NUM_THREADS", "2"),))

# name, what is compared, ours, theirs, the ratio to reach
ROWS = (
    Row("train eager", "training against torch as it comes, NCHW", OURS, (EAGER,), 3.5),
    Row("train channels_last", "training against channels_last", OURS, (TORCH,), 2.7),
    Row("train compiled", "training against channels_last, compiled", OURS, (COMPILED,)),
    Row("train jemalloc", "training against channels_last, jemalloc", OURS, (JEMALLOC,)),
    Row("train both", "training against channels_last, compiled, jemalloc", OURS, (BOTH,)),
    Row("train best", "training against the best of these", OURS,
        (EAGER, TORCH, COMPILED, JEMALLOC, BOTH), 2.0),
    Row("train228", "training at 228 px against channels_last", OURS_228,
        (TORCH.but(side=228),), 2.5),
    Row("infer channels_last", "inference against channels_last", OURS.but(**INFER),
        (TORCH.but(**INFER),), 2.0),
    Row("infer compiled", "inference against channels_last, compiled", OURS.but(**INFER),
        (COMPILED.but(**INFER),), 2.0),
    Row("predict", "`predict` of a JPEG file against fastai's", OURS.but(**PREDICT),
        (TORCH.but(**PREDICT),), 3.0, "ms"),
    Row("resnet50", "training resnet50, batch 32, against channels_last", OURS_50,
        (TORCH.but(arch="resnet50", batch=32),), 1.5),
    *(row for short, arch in MOBILE.items() for row in (
        Row(f"{short} eager", f"training {arch}, batch 32, against timm's in torch, NCHW",
            OURS.but(arch=arch, batch=32), (EAGER.but(arch=arch, batch=32),), 1.0),
        Row(f"{short} channels_last", f"training {arch}, batch 32, against channels_last",
            OURS.but(arch=arch, batch=32), (TORCH.but(arch=arch, batch=32),), 1.0),
        Row(f"{short}_infer", f"inference of {arch}, batch 32, against channels_last",
            OURS.but(arch=arch, batch=32, **INFER), (TORCH.but(arch=arch, batch=32, **INFER),),
            1.0))),
    Row("convnext eager", "training convnext_tiny, batch 32, against timm's as it comes, NCHW",
        OURS.but(**CONVNEXT), (EAGER.but(**CONVNEXT),)),
    Row("convnext channels_last", "training convnext_tiny, batch 32, against channels_last",
        OURS.but(**CONVNEXT), (TORCH.but(**CONVNEXT),)),
    Row("convnext best", "training convnext_tiny, batch 32, against the better of the two",
        OURS.but(**CONVNEXT), (EAGER.but(**CONVNEXT), TORCH.but(**CONVNEXT)), 1.0),
    Row("bf16 train", "training in bfloat16 against autocast's, channels_last",
        OURS.but(bf16=True), (TORCH.but(bf16=True),), 1.3),
    Row("bf16 float32", "training in bfloat16 against ours in float32", OURS.but(bf16=True),
        (OURS,)),
    *(row for arch, batch in (("resnet50", 32), ("convnext_tiny", 16)) for row in (
        Row(f"bf16_{arch} train", f"{arch}, batch {batch}, against autocast's, channels_last",
            OURS.but(arch=arch, batch=batch, bf16=True),
            (TORCH.but(arch=arch, batch=batch, bf16=True),)),
        Row(f"bf16_{arch} float32", f"{arch}, batch {batch}, against ours in float32",
            OURS.but(arch=arch, batch=batch, bf16=True), (OURS.but(arch=arch, batch=batch),)))),
    Row("avx2", "training with AVX2 forced on both, against channels_last", OURS_AVX2,
        (TORCH_AVX2,), 2.2),
    Row("threads ours", "our training, two threads against one", OURS_PAIR, (OURS_ALONE,), 1.85),
    Row("threads torch", "torch's training, channels_last, two threads against one", TORCH_PAIR,
        (TORCH_ALONE,)),
    Row("memory", "peak resident memory of training, against torch as it comes", OURS, (EAGER,),
        0.5, "MB"),
)
LAYERS = "layers"
PEAK_LANES = {"avx512bf16": 16, "avx512": 16, "avx2": 8, "neon": 4}
PEAK_CHAINS, PEAK_ROUNDS = 12, 20_000_000


class Skip(Exception):
    """Why something cannot be measured here."""


# --- processes


class Worker:
    """A running side."""

    def __init__(self, side, python):
        environment = {**os.environ, **dict(side.env)}
        if side.jemalloc:
            environment["LD_PRELOAD"] = jemalloc()
        self._process = subprocess.Popen(
            [python, HERE / side.program, json.dumps(asdict(side))], env=environment, text=True,
            bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.about = self._answer()
            if side.jemalloc and not self.about["jemalloc"]:
                raise Skip("jemalloc was not preloaded")
        except Skip:
            self.close()
            raise

    def turn(self):
        """Let the side work once and return what it measured."""
        # A process that has ended gives no answer, which says why better than a broken pipe.
        with suppress(BrokenPipeError):
            self._process.stdin.write("\n")
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise Skip(f"the process ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Skip(answer["error"])
        return answer

    def close(self):
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def jemalloc():
    """Return what to preload."""
    name = ctypes.util.find_library("jemalloc")
    if name is None:
        raise Skip("the system has no jemalloc (Debian: libjemalloc2)")
    return name


def measure(sides, rounds, pythons):
    """Let all sides take turns.

    Returns
    -------
    turns : dict from side to its list of answers, one a round
    reasons : dict from a side that could not be measured to why
    versions : set of str
    """
    turns, reasons, versions = {}, {}, set()
    with ExitStack() as stack:
        workers = {}
        for side in sides:
            try:
                workers[side] = Worker(side, pythons[side.program])
            except Skip as why:
                reasons[side] = str(why)
                continue
            stack.callback(workers[side].close)
            versions.add(workers[side].about["version"])
            turns[side] = []
        for i in range(rounds):
            first = i % max(len(workers), 1)
            order = list(workers)
            for side in order[first:] + order[:first]:
                try:
                    turns[side].append(workers[side].turn())
                except Skip as why:
                    reasons[side] = str(why)
                    del workers[side], turns[side]
    return turns, reasons, versions


# --- rows


def compare(row, turns, reasons):
    """Return a row's figures, or the reason why there are none."""
    theirs = [turns[side] for side in row.theirs if side in turns]
    if row.ours not in turns or not theirs:
        return {"reason": next(reasons[s] for s in (row.ours, *row.theirs) if s in reasons)}
    key = "peak" if row.unit == "MB" else "seconds"
    ours = [turn[key] for turn in turns[row.ours]]
    theirs = [min(turn[key] for turn in together) for together in zip(*theirs)]
    ratios = [ratio(row, a, b) for a, b in zip(ours, theirs)]
    return {"ours": ours, "theirs": theirs, "spread": [min(ratios), max(ratios)],
            "ratio": ratio(row, statistics.median(ours), statistics.median(theirs))}


def ratio(row, ours, theirs):
    return ours / theirs if row.unit == "MB" else theirs / ours


def reached(row, figures):
    if row.goal is None:
        return ""
    fine = figures["ratio"] <= row.goal if row.unit == "MB" else figures["ratio"] >= row.goal
    return "yes" if fine else "no"


def shown(row, values):
    """The median of some measurements, in the row's unit."""
    value = statistics.median(values)
    return {"img/s": f"{row.ours.batch / value:.1f} img/s", "ms": f"{1e3 * value:.1f} ms",
            "MB": f"{value / 1e6:.0f} MB"}[row.unit]


def run_rows(rows, rounds, pythons):
    """Measure rows group by group; returns {name: figures} and the versions met."""
    done, versions = {}, set()
    for group in dict.fromkeys(row.group for row in rows):
        members = [row for row in rows if row.group == group]
        sides = dict.fromkeys(side for row in members for side in (row.ours, *row.theirs))
        # A peak of memory never falls, so that a second round would say nothing.
        turns, reasons, met = measure(sides, 1 if group == "memory" else rounds, pythons)
        versions |= met
        for row in members:
            done[row.name] = compare(row, turns, reasons)
            print(row.name, done[row.name], file=sys.stderr, flush=True)
    return done, versions


def table(rows, done):
    """Lines of the Markdown table."""
    lines = ["| row | | ours | theirs | ratio | spread | goal | reached |",
             "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        figures = done[row.name]
        start = f"| {row.name} | {row.what} |"
        bound = "" if row.goal is None else f"{'<= ' if row.unit == 'MB' else ''}{row.goal}"
        if "reason" in figures:
            lines.append(f"{start} not measured: {figures['reason']} | | | | {bound} | |")
            continue
        low, high = figures["spread"]
        lines.append(f"{start} {shown(row, figures['ours'])} | {shown(row, figures['theirs'])} | "
                     f"{figures['ratio']:.2f} | {low:.2f} to {high:.2f} | {bound} | "
                     f"{reached(row, figures)} |")
    return lines


# --- convolutions


def peak_probe(isa, threads):
    """Return a function that measures GFLOP/s of multiply-adds in registers, on all threads."""
    if isa not in PEAK_LANES:
        raise Skip(f"no probe of the multiply-add peak of {isa}")
    with tempfile.TemporaryDirectory() as scratch:
        library = Path(scratch, "fma_peak.so")
        compiler = [os.environ.get("CC", "cc"), "-O2", "-ffp-contract=fast", "-shared", "-fPIC"]
        try:
            subprocess.run([*compiler, HERE / "fma_peak.c", "-o", library], check=True)
        except (OSError, subprocess.CalledProcessError) as why:
            raise Skip(f"the probe of the multiply-add peak was not compiled: {why}") from None
        probe = getattr(ctypes.CDLL(str(library)), f"fma_{isa}")
    probe.argtypes, probe.restype = [ctypes.c_long], ctypes.c_float
    flops = 2 * PEAK_CHAINS * PEAK_LANES[isa] * PEAK_ROUNDS

    def measured(threads):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(probe, [1000] * threads))
            since = time.perf_counter()
            list(pool.map(probe, [PEAK_ROUNDS] * threads))
            return threads * flops / (time.perf_counter() - since) / 1e9

    return lambda: {"one core": measured(1), "all threads": measured(threads)}


def run_layers(side, rounds, pythons):
    """Return the peak and the speed of every distinct convolution, in GFLOP/s."""
    try:
        worker = Worker(side, pythons[side.program])
    except Skip as why:
        return {"reason": str(why)}
    try:
        probe = peak_probe(worker.about["isa"], worker.about["threads"])
        peaks, turns = zip(*((probe(), worker.turn()["layers"]) for _ in range(rounds)))
    except Skip as why:
        return {"reason": str(why)}
    finally:
        worker.close()
    peak = {name: statistics.median(p[name] for p in peaks) for name in peaks[0]}
    return {"peak": peak, "convolutions": [speed(side, several) for several in zip(*turns)]}


def speed(side, several):
    """One convolution's GFLOP/s, from its turns (C, K, kernel, stride, width, count, *seconds)."""
    channels, out, kernel, stride, width, count = several[0][:6]
    flops = 2 * side.batch * width * width * channels * out * kernel * kernel
    medians = [statistics.median(turn[6 + i] for turn in several) for i in range(3)]
    names = ("forward", "backward-data", "backward-weights")
    return {"shape": [channels, out, kernel, stride, width], "count": count,
            "seconds": dict(zip(names, medians)),
            "gflops": {n: flops / t / 1e9 if t > 0 else None for n, t in zip(names, medians)}}


def layer_table(layers, side):
    """Lines on the convolutions."""
    if "reason" in layers:
        return [f"Convolutions: not measured: {layers['reason']}"]
    peak = layers["peak"]
    legend = ("Multiply-adds of a direct convolution over the time, in GFLOP/s, and the share of "
              "what multiply-adds in registers reach here in the same run: "
              f"{peak['all threads']:.0f} GFLOP/s on all threads ({peak['one core']:.0f} on one "
              "core). An algorithm that multiplies less than a direct convolution may pass 100 %. "
              "Backward-weights is the difference of a backward pass and one with the convolutions "
              "frozen; the first convolution needs no backward-data. Times are means over equal "
              "convolutions, medians over rounds.")
    lines = [f"## Convolutions of ResNet-18, batch {side.batch}, {side.side} px", "", legend, "",
             "| convolution | output | times | forward | backward-data | backward-weights |",
             "|---|---|---|---|---|---|"]
    for conv in layers["convolutions"]:
        channels, out, kernel, stride, width = conv["shape"]
        cells = [cell(value, peak["all threads"]) for value in conv["gflops"].values()]
        lines.append(f"| {kernel}x{kernel} {channels} -> {out}, stride {stride} | {width}x{width} "
                     f"| {conv['count']} | {' | '.join(cells)} |")
    return [*lines, "", *layer_goals(layers["convolutions"], peak["all threads"])]


def layer_goals(convolutions, peak):
    """Lines on the shares of the peak: the median over layers and directions beside its goal."""
    groups = {"3x3, stride 1": ([], 2.8), "the others": ([], 0.9)}
    for conv in convolutions:
        kernel, stride = conv["shape"][2:4]
        shares = groups["3x3, stride 1" if (kernel, stride) == (3, 1) else "the others"][0]
        shares += [g / peak for g in conv["gflops"].values() if g for _ in range(conv["count"])]
    return [f"Median of {name}, over layers and directions: {statistics.median(shares):.2f} of the "
            f"peak (goal {goal})." for name, (shares, goal) in groups.items() if shares]


def cell(gflops, peak):
    return "-" if gflops is None else f"{gflops:.0f} ({100 * gflops / peak:.0f} %)"


# --- the page


def others_seconds():
    """Return the processor time that went to anything but this run and its ended processes."""
    parts = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    everything = (sum(parts) - parts[3] - parts[4]) / os.sysconf("SC_CLK_TCK")  # idle, waiting
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(use.ru_utime + use.ru_stime for use in uses)
    return everything - own


def draw_photos(folder):
    """Write a few JPEG files of a camera's kind of detail, for `predict` and its learner."""
    rng = np.random.default_rng(0)
    for i, label in enumerate(("black", "grizzly", "teddy") * 4):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
        pixels = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.int16)
        pixels = np.clip(pixels + rng.integers(-12, 13, pixels.shape), 0, 255).astype(np.uint8)
        (folder / label).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / label / f"{i:02}.jpg", quality=90)


def resized(row, a, photos):
    """A row with the command line's sizes and the photos that were drawn."""
    sizes = {k: v for k, v in (("batch", a.batch), ("side", a.side)) if v}

    def side(one):
        return one.but(photos=photos) if one.task == "predict" else one.but(**sizes)

    return replace(row, ours=side(row.ours), theirs=tuple(map(side, row.theirs)))


def arguments():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("peers", help="Python of an environment with torch, torchvision and fastai")
    a.add_argument("--only", nargs="+", help="names of rows, or what they begin with; and "
                   f"{LAYERS!r}: {', '.join(row.name for row in ROWS)}")
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--batch", type=int, help="of all rows but predict, instead of their own")
    a.add_argument("--side", type=int, help="of all rows but predict, instead of their own")
    a.add_argument("--out", type=Path, help="folder for engine.md and engine.json")
    return a.parse_args()


def report(a, rows, done, layers, versions, side, others):
    """The whole page."""
    machine = (f"{', '.join(sorted(versions))}; Python {platform.python_version()}; "
               f"{_core.isa()}, {_core.get_num_threads()} threads of {os.cpu_count()} "
               f"({cpu_name()}). Rounds: {a.rounds}. Other programs kept {others:.2f} cores busy "
               "meanwhile; much above 0, the figures say little.")
    legend = (f"ResNet-18, batch {side.batch}, {side.side} px, where a row says nothing else. "
              "Medians over the rounds; ratio of the medians, and its spread from the smallest to "
              "the largest of a round. Made by `make benchmark`.")
    lines = ["# The engine beside torch", "", machine, "", legend, ""]
    if rows:
        lines += [*table(rows, done), ""]
    if layers:
        lines += [*layer_table(layers, side), ""]
    return "\n".join(lines)


def main():
    a = arguments()
    wanted = tuple(a.only or [""])
    pythons = {OURS.program: sys.executable, TORCH.program: a.peers}
    since, before = time.monotonic(), others_seconds()
    with tempfile.TemporaryDirectory() as photos:
        draw_photos(Path(photos))
        rows = [resized(row, a, photos) for row in ROWS if row.name.startswith(wanted)]
        side = OURS.but(task=LAYERS, batch=a.batch or OURS.batch, side=a.side or OURS.side)
        done, versions = run_rows(rows, a.rounds, pythons)
        layers = run_layers(side, a.rounds, pythons) if LAYERS.startswith(wanted) else None
    others = (others_seconds() - before) / (time.monotonic() - since)
    page = report(a, rows, done, layers, versions, side, others)
    print(page)
    if a.out:
        a.out.mkdir(parents=True, exist_ok=True)
        (a.out / "engine.md").write_text(page)
        whole = {"versions": sorted(versions), "machine": cpu_name(), "cores": os.cpu_count(),
                 "rounds": a.rounds, "others_busy_cores": others, "rows": done, "layers": layers}
        (a.out / "engine.json").write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
