"""``mlclassify verify``, ``scrape`` and ``label``: photos before there is a model."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from mlclassify.checks import check_path
from mlclassify.cli.asking import expand
from mlclassify.data.duplicates import find_duplicates
from mlclassify.data.files import get_image_files
from mlclassify.data.scrape import scrape_images, verify_images
from mlclassify.data.table import check_delim, check_label, table_of_folders
from mlclassify.label.server import label_images


def verify(options: Namespace) -> tuple[dict[str, Any], int]:
    """Find files that are no readable photos, and with --duplicates photos that look alike."""
    files = expand(options.photos)
    bad = verify_images(files)
    for fn in bad:
        if options.delete and Path(fn).exists():
            Path(fn).unlink()
        if not options.json:
            print(f"{fn}: {'deleted' if options.delete else 'no readable photo'}")
    answer: dict[str, Any] = {
        "photos": len(files), "unreadable": list(map(str, bad)), "deleted": options.delete
    }  # fmt: skip
    if options.duplicates:
        gone = set(bad)
        found = find_duplicates([fn for fn in files if fn not in gone], options.max_distance)
        answer["duplicates"] = [list(map(str, group)) for group in found.groups]
        if not options.json:
            print(found)
    if not options.json:
        print(f"{len(bad)} of {len(files)} files are no readable photos")
    return answer, int(bool(bad) and not options.delete)


def scrape(options: Namespace) -> tuple[dict[str, Any], int]:
    """Collect photos of each label into folders, and write the table of their labels."""
    for label in options.labels:
        check_label("scrape", label, check_delim("scrape", options.label_delim))
    path = scrape_images(
        options.path, options.labels, options.search_suffix, options.erase_dir, options.max_images,
        options.search, max_total=options.max_total, max_bytes=options.max_bytes,
        allow_private=options.allow_private,
    )  # fmt: skip
    table = table_of_folders(path, options.label_delim, options.max_distance)
    both = {name: labels for name, labels in table.rows.items() if len(labels) > 1}
    file, kept = path / "labels.csv", (path / "labels.csv").exists()
    if kept:
        print(f"{file} is kept as it is")
    else:
        table.write(file)
        print(f"{len(table.rows)} photos, {len(both)} with several labels: {file}")
    photos = len(get_image_files(path))
    return {"path": str(path), "photos": photos, "rows": len(table.rows), "several_labels": both,
            "labels_csv": None if kept else str(file)}, 0  # fmt: skip


def label(options: Namespace) -> tuple[dict[str, Any], int]:
    """Serve a page to label photos on."""
    table = label_images(
        check_path("label_images", "path", options.path), options.labels, options.csv_fname,
        options.label_delim, options.from_folders, options.port, options.open_browser,
    )  # fmt: skip
    return {"labels_csv": str(table)}, 0
