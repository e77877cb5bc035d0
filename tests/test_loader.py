"""Loaders: order, pixels that depend on the key alone, threads, buffers and errors."""

import threading
import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mlclassify import _core
from mlclassify.data.batch import BatchPlan, make_plan, run_plan, undo_normalize
from mlclassify.data.cache import PhotoCache
from mlclassify.data.lists import L
from mlclassify.data.loader import DataLoader, describe, make_transforms
from mlclassify.data.loaders import DataLoaders
from mlclassify.rng import CROP, KeyedRandom, set_seed, uniforms
from mlclassify.tensor import TensorImage, TensorMultiCategory
from mlclassify.vision.augment import Resize
from mlclassify.vision.image import UnreadableImageError, open_image, resize_crop


class Photos:
    """`n` photos without a file: photo i is of the color (i, 2i, 3i), target i counts in binary."""

    vocab = L("a", "b", "c")

    def __init__(self, n, size=(6, 4), has_labels=True, wait=0):
        self.items, self.size, self.has_labels, self.wait = list(range(n)), size, has_labels, wait
        self.threads = set()

    def __len__(self):
        return len(self.items)

    def name(self, i):
        return str(self.items[i])

    def image(self, i):
        self.threads.add(threading.current_thread().name)
        time.sleep(self.wait)
        return Image.new("RGB", self.size, (i, 2 * i, 3 * i))

    def targets(self):
        return np.array([[i >> k & 1 for k in range(3)] for i in self.items], np.float32)

    def target(self, i):
        return self.targets()[i] if self.has_labels else None


class Paint:
    """Item transform: adds a random number to every color in training."""

    order = 1

    def apply(self, image, draw, train):
        return Image.eval(image, lambda v: v + (draw.randint(0, 50) if train else 0))


class Stats:
    """Batch transform: fixed statistics."""

    order = 99

    def __init__(self, mean=0.25, std=0.5):
        self.mean, self.std = mean, std

    def plan(self, batch):
        batch.mean[:], batch.std[:] = self.mean, self.std


def epoch(dl, seed=1, number=0):
    return [(b.x.copy(), b.y, b.position, b.items) for b in dl.stream(seed, number)]


def own_threads():
    return [t for t in threading.enumerate() if t.name.startswith("mlclassify-")]


# --- what a batch holds ---


def test_batches():
    batches = epoch(DataLoader(Photos(7), bs=3))
    assert [b[2] for b in batches] == [0, 3, 6] and [b[3] for b in batches] == [
        [0, 1, 2],
        [3, 4, 5],
        [6],
    ]
    x, y, _, _ = batches[1]
    assert x.shape == (3, 3, 4, 6) and x.dtype == np.float32
    np.testing.assert_allclose(x[1, :, 2, 3] * 255, [4, 8, 12], rtol=1e-6)
    assert y.dtype == np.float32 and y.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 1]]


def test_memory_is_nhwc_and_used_again():
    places = []
    for batch in DataLoader(Photos(8), bs=2).stream(0, 0):
        assert batch.x.transpose(0, 2, 3, 1).flags.c_contiguous
        places.append(batch.x.__array_interface__["data"][0])
    assert len(set(places)) == 2 and places[0] == places[2] and places[1] == places[3]


def test_a_batch_outlives_the_next_one():
    stream = DataLoader(Photos(6), bs=2).stream(0, 0)
    first = next(stream)
    before = first.x.copy()
    next(stream)
    assert (first.x == before).all()
    stream.close()


def test_drop_last_and_lengths():
    for n, bs, all_of_them, full in ((7, 3, 3, 2), (6, 3, 2, 2), (2, 3, 1, 0), (0, 3, 0, 0)):
        dl, full_only = DataLoader(Photos(n), bs=bs), DataLoader(Photos(n), bs=bs, drop_last=True)
        assert len(dl) == len(epoch(dl)) == all_of_them and dl.n == n
        assert len(full_only) == len(epoch(full_only)) == full


def test_without_targets():
    dl = DataLoader(Photos(2, has_labels=False))
    assert not dl.has_labels and next(dl.stream(0, 0)).y is None
    assert [len(b) for b in dl] == [1] and len(dl.one_batch()) == 1


# --- order and randomness ---


def test_shuffle_is_keyed():
    dl = DataLoader(Photos(50), bs=50, shuffle=True)
    order = epoch(dl, 1, 0)[0][3]
    assert sorted(order) == list(range(50)) and order != list(range(50))
    assert order == epoch(dl, 1, 0)[0][3]
    assert order != epoch(dl, 1, 1)[0][3] and order != epoch(dl, 2, 0)[0][3]


def test_drop_last_leaves_out_others_in_each_epoch():
    dl = DataLoader(Photos(5), bs=2, shuffle=True, drop_last=True)
    left = {(set(range(5)) - {i for b in epoch(dl, 1, e) for i in b[3]}).pop() for e in range(20)}
    assert len(left) > 1


def test_pixels_do_not_depend_on_threads_and_batches():
    def pixels(bs, workers):
        dl = DataLoader(
            Photos(9), bs, shuffle=True, train=True, item_tfms=Paint, num_workers=workers
        )
        return np.concatenate([b[0] for b in epoch(dl, 5, 2)])

    expected = pixels(9, 0)
    for bs, workers in ((9, 1), (2, 3), (4, 8), (1, 2)):
        assert (pixels(bs, workers) == expected).all()


def test_item_transforms_draw_by_position():
    dl = DataLoader(Photos(3), train=True, item_tfms=Paint())
    colors = np.rint(epoch(dl, 7, 4)[0][0][:, 0, 0, 0] * 255).astype(int)
    for position, color in enumerate(colors):
        # Image.eval looks all 256 values of each band up: value v takes draw number v.
        draw = KeyedRandom(7, 4, position, CROP)
        numbers = [draw.randint(0, 50) for _ in range(256)]
        assert color == position + numbers[position]


def test_validation_is_not_random():
    dl = DataLoader(Photos(3), item_tfms=Paint())
    assert (epoch(dl, 1, 0)[0][0] == epoch(dl, 2, 3)[0][0]).all()


def test_iterating_goes_on_and_follows_set_seed():
    def firsts():
        dl = DataLoader(Photos(40), bs=40, shuffle=True)
        return [np.asarray(dl.one_batch()[1]).tolist() for _ in range(2)]

    set_seed(3)
    try:
        first, second = firsts()
        assert first != second and [first, second] == firsts()
    finally:
        set_seed(None)


# --- batch transforms ---


def test_plan_defaults_and_draws():
    plan = BatchPlan(2, 5, 6, seed=1, epoch=2, positions=[4, 9])
    assert plan.homography is None and plan.lighting is None and not plan.train
    assert plan.mean.tolist() == [0, 0, 0] and plan.std.tolist() == [1, 1, 1]
    assert (plan.draws(3, 4) == uniforms(1, 2, [4, 9], 3, 4)).all()
    assert (BatchPlan(2, 5, 6).draws(3, 4) == uniforms(0, 0, [0, 1], 3, 4)).all()
    plan.mean[0] = 9
    assert BatchPlan(1, 1, 1).mean[0] == 0


def test_batch_transforms_write_in_their_order():
    class Early:
        order = 1

        def plan(self, batch):
            batch.mean[:] = 7
            self.seen = batch

    early = Early()
    dl = DataLoader(Photos(3, size=(6, 4)), bs=2, batch_tfms=[Stats(), early], train=True)
    assert dl.batch_tfms[0] is early
    x = epoch(dl, 3, 1)[1][0]
    assert (early.seen.n, early.seen.h, early.seen.w, early.seen.train) == (1, 4, 6, True)
    assert (early.seen.seed, early.seen.epoch, list(early.seen.positions)) == (3, 1, [2])
    np.testing.assert_allclose(x[0, :, 0, 0], (np.array([2, 4, 6]) / 255 - 0.25) / 0.5, rtol=1e-5)


def test_normalization_can_be_undone(rng):
    images = rng.integers(0, 256, (2, 3, 4, 3), np.uint8)
    plan = make_plan([Stats()], n=2, h=3, w=4)
    x = run_plan(plan, images, np.empty(images.shape, np.float32))
    assert (undo_normalize(plan, x) == images).all()


def test_the_last_transform_of_a_class_counts():
    one, two, paint = Stats(1), Stats(2), Paint()
    assert make_transforms("batch_tfms", [one, two]) == [two]
    assert (
        make_transforms("item_tfms", paint) == [paint] and make_transforms("item_tfms", None) == []
    )
    with pytest.raises(
        TypeError, match="DataLoader: `item_tfms` must hold transforms with a method `apply`"
    ):
        make_transforms("item_tfms", one)
    with pytest.raises(
        TypeError, match="`batch_tfms` must hold .* `plan`.*Resize go to `item_tfms`"
    ):
        DataLoader(Photos(1), batch_tfms=[paint])


# --- for a user ---


def test_iterating_gives_copies():
    batches = list(DataLoader(Photos(4), bs=2))
    assert [type(part) for part in batches[0]] == [TensorImage, TensorMultiCategory]
    assert not np.shares_memory(batches[0][0], batches[1][0])
    assert tuple(batches[0][0].shape) == (2, 3, 4, 6)
    np.testing.assert_allclose(np.asarray(batches[1][0])[0, :, 0, 0] * 255, [2, 4, 6], rtol=1e-6)


def test_one_batch_loads_one_batch():
    photos = Photos(50)
    loaded = []
    photos.image = lambda i: loaded.append(i) or Image.new("RGB", (2, 2))
    DataLoader(photos, bs=3).one_batch()
    assert sorted(loaded) == [0, 1, 2]


def test_no_batch_says_so():
    with pytest.raises(
        ValueError, match="got 2 photos for .* 3. This DataLoader does not contain any"
    ):
        DataLoader(Photos(2), bs=3, drop_last=True).one_batch()
    with pytest.raises(ValueError, match="show_batch: .*does not contain any batches"):
        DataLoader(Photos(0)).show_batch()


def test_show_batch_undoes_the_normalization():
    dl = DataLoader(Photos(20, size=(3, 3)), bs=20, batch_tfms=Stats())
    axes = np.ravel(dl.show_batch(max_n=8, nrows=2))
    assert len(axes) == 8 and axes[5].get_title() == "a;c" and axes[0].get_title() == "(none)"
    assert np.asarray(axes[7].images[0].get_array())[0, 0].tolist() == [7, 14, 21]


def test_show_batch_of_a_given_batch_and_one_photo_only():
    dl = DataLoader(Photos(20, size=(3, 3)), bs=5, train=True, item_tfms=Paint())
    x, y = dl.one_batch()
    axes = np.ravel(dl.show_batch((x[:2], y[:2]), figsize=(4, 2)))
    assert [a.get_title() for a in axes[:2]] == ["(none)", "a"] and tuple(
        axes[0].figure.get_size_inches()
    ) == (4, 2)
    drawn = np.ravel(dl.show_batch(unique=True, max_n=9))
    colors = {np.asarray(a.images[0].get_array()).tobytes() for a in drawn}
    assert {a.get_title() for a in drawn} == {"(none)"} and len(colors) > 3


# --- threads ---


def test_num_workers_has_an_effect():
    for workers, names in ((0, 0), (1, 1), (4, 4)):
        photos = Photos(24, wait=0.005)
        epoch(DataLoader(photos, bs=8, num_workers=workers))
        assert len([n for n in photos.threads if n.startswith("mlclassify-photo")]) == names
    assert DataLoader(Photos(1)).num_workers == min(16, _core.get_num_threads())


def test_the_next_batch_is_decoded_while_one_is_used():
    photos, decoded = Photos(6), threading.Semaphore(0)
    original = photos.image
    photos.image = lambda i: (original(i), decoded.release())[0]
    stream = DataLoader(photos, bs=2, num_workers=1).stream(0, 0)
    next(stream)
    # The first batch and the one after it, without anybody asking for that.
    assert all(decoded.acquire(timeout=10) for _ in range(4))
    stream.close()


def test_closing_leaves_no_thread():
    stream = DataLoader(Photos(64, wait=0.01), bs=4, num_workers=3).stream(0, 0)
    next(stream)
    assert own_threads()
    stream.close()
    assert not own_threads()
    for _ in DataLoader(Photos(8), bs=4, num_workers=3):
        break
    epoch(DataLoader(Photos(8), bs=4, num_workers=3))
    DataLoader(Photos(8), num_workers=2).one_batch()
    assert not own_threads()


def test_an_error_leaves_no_thread_and_names_the_item():
    class Breaks(Paint):
        def apply(self, image, draw, train):
            raise KeyError("no such color")

    with pytest.raises(KeyError, match="no such color") as caught:
        epoch(DataLoader(Photos(9), bs=3, item_tfms=Breaks, num_workers=2))
    assert caught.value.__notes__ == ["while transforming 0"] and not own_threads()


def test_an_unreadable_photo_is_named():
    class OneBroken(Photos):
        def image(self, i):
            if i == 5:
                raise UnreadableImageError(
                    "open_image: `fn` must be a whole photo, got teddy/5.jpg"
                )
            return super().image(i)

    stream = DataLoader(OneBroken(9), bs=3, num_workers=2).stream(0, 0)
    assert next(stream).items == [0, 1, 2]
    with pytest.raises(OSError, match="teddy/5.jpg"):
        next(stream)
    assert not own_threads()


def test_photos_of_several_sizes():
    class Growing(Photos):
        def image(self, i):
            return Image.new("RGB", (10 + i, 10))

    class Fixed(Paint):
        def apply(self, image, draw, train):
            return resize_crop(image, 8)

    with pytest.raises(
        ValueError, match="one size, got 10 x 10 for 0 and 11 x 10 for 1; add Resize"
    ):
        epoch(DataLoader(Growing(3), bs=3))
    assert epoch(DataLoader(Growing(3), bs=3, item_tfms=Fixed))[0][0].shape == (3, 3, 8, 8)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, None, "8"])
def test_batch_size_is_checked(wrong):
    with pytest.raises(
        ValueError, match=f"DataLoader: `bs` must be an integer of at least 1, got {wrong!r}"
    ):
        DataLoader(Photos(1), bs=wrong)


def test_worker_count_is_checked():
    with pytest.raises(
        ValueError, match="DataLoader: `num_workers` must be an integer of at least 0"
    ):
        DataLoader(Photos(1), num_workers=-1)


# --- draft and cache ---


class Counted(Photos):
    """Counts how often each photo is decoded, and keeps what `enough` it was asked with."""

    def __init__(self, n, **options):
        super().__init__(n, **options)
        self.reads, self.enough = [], []

    def image(self, i, enough=None):
        self.reads.append(i)
        self.enough.append(enough)
        return super().image(i)


class Covering(Paint):
    def covers(self, w, h):
        return True


def test_a_cache_changes_no_pixel_and_reads_once():
    options = {"bs": 3, "shuffle": True, "train": True, "item_tfms": Paint, "num_workers": 2}
    plain, photos = DataLoader(Photos(9), **options), Counted(9)
    cached = DataLoader(photos, cache=PhotoCache(10**6), **options)
    for number in range(3):
        for one, two in zip(epoch(plain, 5, number), epoch(cached, 5, number)):
            assert (one[0] == two[0]).all() and one[3] == two[3]
    assert sorted(photos.reads) == list(range(9))


def test_a_cache_keeps_to_its_budget():
    each = 4 * (4 * 6 + 8) + 1024
    cache, photos = PhotoCache(3 * each + each // 2), Counted(8)
    dl = DataLoader(photos, bs=4, cache=cache, num_workers=0)
    for _ in range(3):
        epoch(dl)
    assert cache.used == 3 * each and photos.reads == [*range(8), *range(3, 8), *range(3, 8)]


def test_what_a_transform_paints_is_not_kept():
    class Scribble(Paint):
        def apply(self, image, draw, train):
            image.putpixel((0, 0), tuple(v + 1 for v in image.getpixel((0, 0))))
            return image

    dl = DataLoader(Photos(2), item_tfms=Scribble, cache=PhotoCache(10**6))
    first, *others = (epoch(dl)[0][0] for _ in range(3))
    assert all((first == x).all() for x in others)


def test_loaders_share_a_cache_without_mixing_their_photos():
    cache = PhotoCache(10**6)
    one, two = (DataLoader(Photos(2, size=s), cache=cache) for s in ((6, 4), (3, 3)))
    for _ in range(2):
        assert epoch(one)[0][0].shape == (2, 3, 4, 6) and epoch(two)[0][0].shape == (2, 3, 3, 3)


def test_threads_may_share_a_cache():
    cache, wrong = PhotoCache(40 * 1100), []

    def use():
        for i in [*range(60), *range(60)]:
            im = cache.get(i, lambda _, i=i: Image.new("RGB", (2, 2), (i, 0, 0)))
            if im.getpixel((0, 0)) != (i, 0, 0):
                wrong.append(i)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and cache.used == 41 * (2 * 16 + 1024)


class Drafted:
    """One JPEG of 512 x 512 noise, decoded as `open_image` drafts it."""

    items, has_labels = [0], False

    def __init__(self):
        self.sizes, data = [], BytesIO()
        pixels = np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).resize((512, 512)).save(data, "JPEG", quality=90)
        self._jpeg = data.getvalue()

    def __len__(self):
        return 1

    def image(self, i, enough=None):
        im = open_image(self._jpeg, enough)
        self.sizes.append(im.width)
        return im


def test_drafts_in_a_cache_follow_the_item_transforms():
    cached = DataLoader(Drafted(), train=True, draft=True, cache=PhotoCache(10**7))
    plain = DataLoader(Drafted(), train=True, draft=True)
    one = Resize(64)
    for tfms in ([Resize(64)], [Resize(250)], [Resize(200)], [Paint()], [one], [one]):
        cached.item_tfms = plain.item_tfms = tfms
        assert (epoch(cached)[0][0] == epoch(plain)[0][0]).all()
    one.size = [300, 300]
    assert (epoch(cached)[0][0] == epoch(plain)[0][0]).all()
    # Read again only where a draft of another size is wanted.
    assert cached.dataset.sizes == [64, 256, 512, 64, 512]
    assert cached.cache.used == 512 * (4 * 512 + 8) + 1024


def test_a_photo_that_grew_out_of_the_cache_leaves_it():
    each = 64 * (4 * 64 + 8) + 1024
    dl = DataLoader(Drafted(), train=True, draft=True, item_tfms=Resize(64), cache=PhotoCache(each))
    epoch(dl)
    assert dl.cache.used == each
    dl.item_tfms = [Resize(128)]
    epoch(dl)
    epoch(dl)
    assert dl.cache.used == 0 and dl.dataset.sizes == [64, 128, 128]


def test_draft_is_for_training_and_for_transforms_that_know_their_size():
    for train, tfm, draft in ((True, Covering, True), (True, Covering, False),
                              (False, Covering, True), (True, Paint, True)):  # fmt: skip
        photos = Counted(1)
        epoch(DataLoader(photos, train=train, item_tfms=tfm, draft=draft))
        asked = photos.enough[0] is not None
        assert asked == (train and draft and tfm is Covering)


def test_draft_and_cache_are_checked():
    with pytest.raises(ValueError, match="DataLoader: `draft` must be True or False, got 'yes'"):
        DataLoader(Photos(1), draft="yes")
    with pytest.raises(TypeError, match="DataLoader: `cache` must be a PhotoCache, got int"):
        DataLoader(Photos(1), cache=5)


def test_names_of_items():
    assert describe("a/b.jpg") == "a/b.jpg" and describe(b"abc") == "bytes of shape ()"
    assert (
        describe(np.zeros((2, 3))) == "ndarray of shape (2, 3)"
        and len(describe("x,".split(",") * 99)) == 100
    )


# --- DataLoaders ---


def loaders(n_train=20, n_valid=4, **options):
    return DataLoaders(
        DataLoader(Photos(n_train), bs=8, train=True, drop_last=True, **options),
        DataLoader(Photos(n_valid), bs=8, **options),
        path="here",
    )


def test_loaders():
    dls = loaders()
    assert dls[0] is dls.train and dls[1] is dls.valid and str(dls.path) == "here"
    assert dls.vocab == ["a", "b", "c"] and dls.c == 3 and dls.train_ds is dls.train.dataset
    assert dls.valid_ds is dls.valid.dataset and len(dls.one_batch()[0]) == 8
    assert dls.loss_func is not dls.loss_func and dls.loss_func.thresh == 0.5
    assert len(np.ravel(dls.show_batch(max_n=4))) == 4


def test_a_batch_transform_is_added_to_both():
    dls, late = loaders(batch_tfms=Stats(1)), Stats(2)
    dls.add_batch_tfm(late)
    assert dls.train.batch_tfms == [late] == dls.valid.batch_tfms


def test_repr_counts_labels():
    lines = repr(loaders()).splitlines()
    assert lines[0] == (
        "DataLoaders: 20 photos to train on (2 batches of 8), "
        "4 to validate on (1 batch of 8), 3 labels"
    )
    assert [line.split() for line in lines[1:]] == [
        ["label", "train", "valid"], ["a", "10", "2"], ["b", "10", "2"], ["c", "8", "0"],
        ["(no", "label)", "3", "1"],
    ]  # fmt: skip
    assert repr(loaders().valid) == "DataLoader: 4 photos in 1 batch of 8, validation transforms"


def test_html_is_escaped():
    dls = loaders()
    for dl in dls.train, dls.valid:
        dl.dataset.vocab = L("<img src=x onerror=alert(1)>", "b", "c")
    shown = dls._repr_html_()
    assert "<img" not in shown and "&lt;img" in shown and "<td>10</td>" in shown


def test_many_labels_are_not_all_listed():
    dls = loaders()
    for dl in dls.train, dls.valid:
        dl.dataset.vocab = L.range(30)
        dl.dataset.targets = lambda: np.ones((2, 30), np.float32)
    assert repr(dls).endswith("and 10 more labels") and len(repr(dls).splitlines()) == 23
