"""Multi-label image classification from a terminal: ``mlclassify COMMAND --help`` says more.

Results go to stdout, and with --json nothing else does; what else is said goes to stderr. Exit
status: 0 when a command did what it was asked, 1 when it could not, 2 when the command line makes
no sense, 130 when it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias, cast

from mlclassify.cli.plain import PlainFile, plain

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[ArgumentParser]

METHODS = ("scut", "scutfbr0", "scutfbr1", "svm1", "smoothed", "micromacro", "global", "micro",
           "cyclic", "cyclic_samples", "pcut", "rcut")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ArithmeticError, ImportError, KeyError, MemoryError, OSError, RuntimeError,
            ValueError) as error:
        print(f"mlclassify: {plain(one_line(error))}", file=sys.stderr)
        return 1


def _run(options: Namespace) -> int:
    """Do what a command says: it returns what --json prints, and the status."""
    module, function = options.run
    shown = PlainFile(sys.stderr if options.json else sys.stdout)
    with redirect_stdout(cast("TextIO", shown)):
        command = getattr(import_module(f"mlclassify.cli.{module}"), function)
        answer, status = command(options)
    if options.json:
        from mlclassify.cli.labelled import as_json

        print(json.dumps(as_json(answer), indent=1, allow_nan=False))
    sys.stdout.flush()
    return int(status)


def one_line(error: object) -> str:
    """Return the message of an error, and the notes that it was given, on one line.

    Examples
    --------
    >>> one_line(KeyError("no such\\n label"))
    'no such label'
    """
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    parts = [str(text) or type(error).__name__, *getattr(error, "__notes__", ())]
    return " ".join("; ".join(parts).split())


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int,
                  file: Any = None, line: str | None = None) -> None:
    print(f"mlclassify: warning: {plain(one_line(message))}", file=sys.stderr)


# --- what can be said ---


def parser() -> ArgumentParser:
    """Return the parser of the command line."""
    top = ArgumentParser(
        prog="mlclassify", description=str(__doc__).replace("``", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_train, _predict, _report, _tune, _score, _merge, _info, _verify, _scrape, _label,
                _launch, _demo):
        add(commands)
    return top


def _command(commands: Commands, name: str, module: str, does: str,
             function: str | None = None) -> ArgumentParser:
    command = commands.add_parser(name, help=does, description=does)
    command.set_defaults(run=(module, function or name), json=False, parser=command)
    return command


def _json(command: ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def _bytes(text: str) -> int | str:
    """Return an amount of bytes as the API takes it: a number, or a text such as 2GB."""
    return int(text) if text.isdecimal() else text


def _data(command: ArgumentParser, seed: str) -> None:
    option = command.add_argument
    option("source", type=Path, help="folder of the photos: with a table of labels (labels.csv), "
           "or of folders named by label")
    option("--csv-fname", type=Path, help="the table, relative to SOURCE, if not labels.csv")
    option("--label-delim", default=" ", help="between two labels in the table (default: a space)")
    option("--folder", default="", help="of the photos in the table, relative to SOURCE")
    option("--valid-pct", type=float, default=0.2, help="share of photos to validate on "
           "(default: %(default)s); a column is_valid in the table goes before")
    option("--seed", type=int, default=0, help=f"{seed} (default: %(default)s)")


def _train(commands: Commands) -> None:
    command = _command(commands, "train", "training", "train a model on labelled photos")
    option = command.add_argument
    _data(command, "of the split and of the training")
    option("--out", default="export.safetensors", help="the model (default: %(default)s)")
    option("--arch", default="resnet18", help="resnet18, 34, 50, 101, mobilenetv3_large_100, "
           "efficientnet_b0 or convnext_tiny (default: %(default)s)")
    option("--weights", type=Path, help="pretrained weights, a file or a folder of them")
    option("--no-pretrained", dest="pretrained", action="store_false", help="train from scratch")
    option("--size", type=int, default=224, help="of the crops, in pixels (default: %(default)s)")
    option("--bs", type=int, default=64, help="photos in a batch (default: %(default)s)")
    option("--epochs", type=int, default=4, help="(default: %(default)s)")
    option("--freeze-epochs", type=int, default=1, help="of the head alone, before "
           "(default: %(default)s)")
    option("--base-lr", type=float, default=2e-3, help="learning rate (default: %(default)s)")
    option("--thresh", type=float, default=0.5, help="threshold to decide by, unless --tune "
           "(default: %(default)s)")
    option("--pos-weight", choices=["balanced"], help="weigh rare labels up")
    option("--calibrate", choices=["temperature", "platt"], help="make probabilities mean what "
           "they say")
    option("--tune", choices=METHODS, metavar="METHOD", help="choose a threshold for every label: "
           f"{', '.join(METHODS)}")
    option("--novelty", action="store_true", help="give no label to what is like no training photo")
    option("--draft", action="store_true", help="decode large JPEGs at a part of their size")
    option("--cache", type=_bytes, help="memory to keep decoded photos in, such as 2GB")
    _json(command)


def _predict(commands: Commands) -> None:
    command = _command(commands, "predict", "asking", "say which labels photos have")
    command.add_argument("model", type=Path)
    command.add_argument("photos", type=Path, nargs="+", help="files, or folders of them")
    command.add_argument("--thresh", type=float, help="instead of the model's own")
    _json(command)


def _judging(commands: Commands, name: str, does: str) -> ArgumentParser:
    command = _command(commands, name, "asking", does)
    command.add_argument("model", type=Path)
    _data(command, "of the split, as train had it")
    command.add_argument("--part", choices=["valid", "train", "all"], default="valid",
                         help="of the split (default: %(default)s)")
    return command


def _report(commands: Commands) -> None:
    _json(_judging(commands, "report", "judge a model on labelled photos"))


def _tune(commands: Commands) -> None:
    command = _judging(commands, "tune", "choose a threshold for every label")
    command.add_argument("--method", choices=METHODS, default="scut", metavar="METHOD",
                         help=f"{', '.join(METHODS)} (default: %(default)s)")
    command.add_argument("--out", help="file to save the model with them in; may be MODEL")
    _json(command)


def _shard(text: str) -> tuple[int, int]:
    """Return i/n as two numbers."""
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal()):
        raise argparse.ArgumentTypeError(f"must be I/N, as 2/8, got {text!r}")
    return int(i), int(n)


def _score(commands: Commands) -> None:
    command = _command(commands, "score", "scale", "score a list of photos, or a shard of it, into "
                       "a file")
    option = command.add_argument
    option("--model", type=Path, required=True)
    option("--files", type=Path, required=True, metavar="LIST", help="a name a line; or, if it "
           "ends in .csv, a table with columns fname and, to judge by, labels")
    option("--out", type=Path, required=True, help="file that ends in .csv or .parquet")
    option("--shard", type=_shard, default=(1, 1), metavar="I/N", help="part I of N of the list, "
           "from 1 (default: all)")
    option("--resume", action="store_true", help="go on where a run was cut off; leave alone what "
           "is complete")
    option("--bs", type=int, default=256, help="photos after which rows are safe on the disk "
           "(default: %(default)s)")
    option("--folder", type=Path, default=Path(), help="of the photos, where names are relative")
    option("--label-delim", default=" ", help="between two labels (default: a space)")
    _json(command)


def _merge(commands: Commands) -> None:
    command = _command(commands, "merge", "scale", "check that all parts of a list are there, and "
                       "judge them together")
    command.add_argument("parts", type=Path, nargs="+", help="files that score wrote")
    command.add_argument("--out", type=Path, help="file for all rows, .csv or .parquet")
    command.add_argument("--bits", type=int, default=16, help="of a probability that are counted, "
                         "which takes 1 MB a label at 16 (default: %(default)s)")
    _json(command)


def _info(commands: Commands) -> None:
    command = _command(commands, "info", "machine", "versions, instruction set, threads; a model")
    command.add_argument("model", type=Path, nargs="?")
    _json(command)


def _distance(command: ArgumentParser) -> None:
    command.add_argument("--max-distance", type=int, default=8, help="in how many of 128 bits the "
                         "hashes of photos that look alike may differ (default: %(default)s)")


def _verify(commands: Commands) -> None:
    command = _command(commands, "verify", "photos", "find files that are no readable photos; the "
                       "status is 1 if there are any left")
    command.add_argument("photos", type=Path, nargs="+", help="files, or folders of them")
    command.add_argument("--delete", action="store_true", help="delete them")
    command.add_argument("--duplicates", action="store_true", help="find photos that look alike")
    _distance(command)
    _json(command)


def _scrape(commands: Commands) -> None:
    command = _command(commands, "scrape", "photos", "collect photos of labels from the web")
    option = command.add_argument
    option("path", type=Path, help="folder for folders named by label, and labels.csv")
    option("labels", nargs="+", metavar="label")
    option("--search-suffix", default="", help="put after the label in what is searched for")
    option("--max-images", type=int, default=20, help="for each label (default: %(default)s)")
    option("--search", choices=["ddgs", "openverse"], default="ddgs", help="search engines, or a "
           "catalogue of photos with open licences (default: %(default)s)")
    option("--max-bytes", type=_bytes, default="20MB", help="of a photo (default: %(default)s)")
    option("--max-total", type=_bytes, default="2GB", help="of all photos (default: %(default)s)")
    option("--label-delim", default=" ", help="between two labels in labels.csv (default: a space)")
    option("--erase-dir", action="store_true", help="first delete what an earlier call has left")
    option("--allow-private", action="store_true", help="also ask addresses of this network")
    _distance(command)
    _json(command)


def _label(commands: Commands) -> None:
    command = _command(commands, "label", "photos", "label photos on a page in the browser")
    option = command.add_argument
    option("path", type=Path, help="folder of the photos")
    option("--labels", nargs="+", help="labels to offer; more can be added on the page")
    option("--csv-fname", type=Path, default=Path("labels.csv"), help="the table to write, "
           "relative to PATH (default: %(default)s)")
    option("--label-delim", default=" ", help="between two labels in it (default: a space)")
    option("--from-folders", action="store_true", help="offer a photo's folder as its label")
    option("--port", type=int, default=0, help="(default: one that is free)")
    option("--open-browser", action="store_true", help="open the page")
    _json(command)


def _launch(commands: Commands) -> None:
    command = _command(commands, "launch", "launch", "run a script in several processes that train "
                       "one model together, over MPI")
    option = command.add_argument
    option("-n", type=int, required=True, help="processes, on this machine unless --hostfile")
    option("--hostfile", type=Path, help="machines to run on, a line for each: NAME "
           "slots=PROCESSES")
    option("script", type=Path, help="trains as one process would; its files are written by one")
    option("args", nargs=argparse.REMAINDER, metavar="...", help="arguments of the script")


def _demo(commands: Commands) -> None:
    command = _command(commands, "demo", "demo", "train, judge, predict and save, on drawn bears",
                       "main")
    command.add_argument("--out", type=Path, default=Path("demo"), help="folder for what it makes")
    command.add_argument("--bears", type=Path, help="photos in folders named by label, instead")
    command.add_argument("--weights", type=Path, help="pretrained weights for the photos")
    command.add_argument("--seed", type=int, default=1)
    _json(command)


if __name__ == "__main__":
    sys.exit(main())
