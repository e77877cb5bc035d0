"""Choices read from bytes, and bytes that are changed at random: what both ways to fuzz share."""

import copy
import json
import struct

import numpy as np

WORDS = [0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**62, 2**63]


class Draw:
    """Choices that depend on `data` alone; where it has ended, the first of each."""

    def __init__(self, data):
        self._data, self._at = data, 0

    def byte(self):
        """Return a number below 256."""
        value = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return value

    def below(self, n):
        """Return a number below n, which is at most 65536."""
        return (self.byte() if n <= 256 else self.byte() << 8 | self.byte()) % n

    def choice(self, options):
        """Return one of them."""
        return options[self.below(len(options))]

    def rarely(self, one_in):
        """Return True once in so many times."""
        return self.below(one_in) == one_in - 1

    def generator(self):
        """Return a NumPy generator, for what is too much to draw byte by byte."""
        return np.random.default_rng(self.byte() << 8 | self.byte())


def changed(data, others, random, tokens):
    """Return `data` after a few changes that `random`, a ``random.Random``, draws.

    Parameters
    ----------
    data : bytes
    others : list of bytes
        What parts are taken from.
    random : random.Random
    tokens : list of bytes
        What the format is made of.
    """
    data = bytearray(data)
    for _ in range(1 << random.randrange(4)):
        _CHANGES[random.randrange(len(_CHANGES))](data, others, random, tokens)
    return bytes(data)


def changed_json(data, random):
    """Return a JSON text with a few values, keys or items other than they were."""
    try:
        whole = json.loads(data)
    except ValueError:
        return data
    for _ in range(1 << random.randrange(3)):
        places = list(_places(whole))
        if places:
            _change_place(*random.choice(places), random)
    return json.dumps(whole).encode()


def _places(value):
    """Yield (container, key or index) of all that is inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inside:
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)


def _change_place(container, key, random):
    how = random.randrange(8)
    if how == 0:
        del container[key]
    elif how == 1 and isinstance(container, list):
        container.insert(key, container[key])
    elif how == 1:
        container[random.choice((*container, "strange"))] = container[key]
    elif how == 2 and isinstance(container[key], (int, float)):
        container[key] *= random.choice((-1, 0, 0.5, 2, 1e9, 1e300))
    else:
        container[key] = copy.deepcopy(random.choice((*ODD, *container))) if isinstance(
            container, list) else copy.deepcopy(random.choice(ODD))


ODD = [None, True, False, 0, 1, -1, 2, 0.5, 1e-300, 1e300, float("nan"), float("inf"), 2**31, 2**63,
       2**100, "", "x", "inf", "nan", "-inf", "mask", "balanced", [], {}, [1], [0.5, 0.5, 0.5], [[1]],
       {"size": 3}, ["Resize", {"size": 8}], ["Zoom", {}], ["Rotate", {"max_deg": 400}], "Resize"]


def _place(data, random):
    return random.randrange(len(data) + 1)


def _flip(data, others, random, tokens):
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set(data, others, random, tokens):
    if data:
        data[random.randrange(len(data))] = random.randrange(256)


def _word(data, others, random, tokens):
    """Put a number that is hard on parsers, of 1 to 8 bytes, in either order."""
    size, at = random.choice("bhiq"), _place(data, random)
    wrapped = random.choice(WORDS) & ((1 << 8 * struct.calcsize(size)) - 1)
    word = struct.pack(random.choice("<>") + size.upper(), wrapped)
    data[at : at + len(word)] = word


def _digits(data, others, random, tokens):
    at = _place(data, random)
    end = at
    while end < len(data) and chr(data[end]).isdigit():
        end += 1
    data[at:end] = str(random.choice(WORDS)).encode()


def _cut(data, others, random, tokens):
    at = _place(data, random)
    del data[at : at + (1 << random.randrange(8))]


def _end(data, others, random, tokens):
    del data[_place(data, random) :]


def _repeat(data, others, random, tokens):
    at, size = _place(data, random), 1 << random.randrange(8)
    data[at:at] = data[at : at + size] * random.randrange(1, 5)


def _token(data, others, random, tokens):
    at = _place(data, random)
    data[at : at + random.choice((0, 0, 1, 4))] = random.choice(tokens)


def _splice(data, others, random, tokens):
    other = random.choice(others)
    at, start = _place(data, random), _place(other, random)
    data[at : at + random.choice((0, 16, 1 << 20))] = other[start : start + random.choice((16, 256))]


def _noise(data, others, random, tokens):
    at = _place(data, random)
    data[at : at + 8] = random.randbytes(8)


_CHANGES = [_flip, _set, _word, _digits, _cut, _end, _repeat, _token, _splice, _noise]
