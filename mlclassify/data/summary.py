"""What `DataBlock.summary` prints: every step from source to batch, and the one that fails."""

import numpy as np

from mlclassify.data.batch import make_plan
from mlclassify.data.lists import L
from mlclassify.data.loader import DataLoader, describe
from mlclassify.rng import CROP, KeyedRandom

_SHOWN = 10  # labels that a line names


class Trace:
    """Runs steps, a line of print for each.

    Examples
    --------
    >>> Trace().step("double", "of 2", lambda: 4, str)
      double: 4
    4
    >>> Trace().step("divide", "1 by 0", lambda: 1 / 0, str)
    Traceback (most recent call last):
    ...
    ZeroDivisionError: division by zero
    DataBlock.summary: the step `divide` failed for 1 by 0
    """

    def step(self, name, item, run, show=None):
        """Return ``run()``; print what `show` makes of it, or name the step and the item."""
        try:
            result = run()
        except Exception as error:
            error.add_note(f"DataBlock.summary: the step `{name}` failed for {item}")
            raise
        if show is not None:
            print(f"  {name}: {show(result)}")
        return result


def summarize(block, source, bs, show_batch):
    """Do what `DataBlock.summary` says; `block` is the DataBlock."""
    trace = Trace()
    data = _datasets(trace, block, source)
    rows = range(min(bs, len(data.train)))
    photos = _photos(trace, data.train, block.item_tfms, rows)
    print(f"A batch of the first {len(rows)} training photos")
    trace.step("stack", "the photos above", lambda: _stack(photos), lambda shape: f"uint8 {shape}")
    _plans(trace, block.batch_tfms, photos)
    dl = DataLoader(data.train, len(rows), item_tfms=block.item_tfms, batch_tfms=block.batch_tfms,
                    train=True)  # fmt: skip
    batch = trace.step("batch", "the photos above", dl.one_batch, _batch_line)
    if show_batch:
        dl.show_batch(batch)


def _datasets(trace, block, source):
    print("Items")
    where = describe(source)
    found, items = trace.step(
        name_of(block.get_items, "the source itself"),
        where,
        lambda: block.find(source),
        lambda f: f"{len(f[1])}, the first is {describe(f[1][0])}",
    )
    splits = trace.step(
        name_of(block.splitter, "splitter"),
        f"the {len(items)} items",
        lambda: block.split(found, items),
        lambda s: f"{len(s[0])} to train on, {len(s[1])} to validate on",
    )
    print("Labels")
    first = items[splits[0][0]]
    trace.step(
        f"get_y = {name_of(block.get_y, 'get_y')}",
        describe(first),
        lambda: block.get_y(first),
        lambda y: f"{y!r} for {describe(first)}",
    )
    return trace.step(
        "vocabulary",
        f"the {len(items)} items",
        lambda: block.encode(items, splits),
        lambda data: _listed(data.vocab),
    )


def _photos(trace, dataset, item_tfms, rows):
    """Transform the photos of `rows`, the first one aloud."""
    made = []
    for i in rows:
        item, aloud = describe(dataset.items[i]), _size if i == rows[0] else None
        if aloud:
            print(f"The first training photo, {item}")
        image = trace.step("open_image", item, lambda: dataset.image(i), aloud)
        draw = KeyedRandom(0, 0, i, CROP)
        for transform in item_tfms:
            image = trace.step(
                repr(transform), item, lambda: transform.apply(image, draw, True), aloud
            )
        if aloud:
            trace.step(
                "target",
                item,
                lambda: dataset.target(i),
                lambda y: f"{y.tolist()[:_SHOWN]} = {list(dataset.labels(i))}",
            )
        made.append((item, image))
    return made


def _stack(photos):
    """Return the shape of all photos, which must be of one size."""
    first, image = photos[0]
    for item, other in photos:
        if other.size != image.size:
            raise ValueError(
                f"DataBlock: `item_tfms` must make all photos one size, got {_size(image)} for "
                f"{first} and {_size(other)} for {item}; add Resize(224) or RandomResizedCrop(224)"
            )
    return len(photos), image.height, image.width, 3


def _plans(trace, batch_tfms, photos):
    plan = dict(n=len(photos), h=photos[0][1].height, w=photos[0][1].width, train=True)
    for k, transform in enumerate(batch_tfms):
        trace.step(
            repr(transform),
            f"a batch of {len(photos)}",
            lambda: make_plan(batch_tfms[: k + 1], **plan),
            lambda plan: "planned",
        )


def name_of(function, otherwise):
    """Return what to call a function of the user."""
    if function is None:
        return otherwise
    name = getattr(function, "__qualname__", None)
    return name.split(".<locals>")[0] if name else repr(function)


def _listed(vocab):
    names = ", ".join(map(str, L(vocab)[:_SHOWN]))
    return f"{len(vocab)} labels: {names}{', ...' if len(vocab) > _SHOWN else ''}"


def _size(image):
    return f"{image.width} x {image.height}"


def _batch_line(batch):
    x, y = (np.asarray(part) for part in batch)
    return (
        f"photos {x.dtype} {x.shape} from {x.min():.3g} to {x.max():.3g}, targets {y.dtype} "
        f"{y.shape} with {np.mean((y > 0).sum(axis=1)):.3g} labels a photo"
    )
