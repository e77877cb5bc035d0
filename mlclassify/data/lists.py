"""`L`, the list that file names, labels and losses come in.

It is a list with the habits of a notebook: indexing by several indices or a mask, `map`, `filter`
and the like as methods that return an `L`, and a display that starts with the count. Two texts, as
in fastai: ``print`` shows the plain list, IPython shows ``(#2) ['black','teddy']``.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import (
    Any,
    Generic,
    Literal,
    Self,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    overload,
)

import numpy as np

from mlclassify.types import AnyArray

T = TypeVar("T")
U = TypeVar("U")

Lookup: TypeAlias = Mapping[Any, Any] | Sequence[Any] | AnyArray
Key: TypeAlias = Callable[[Any], Any] | str | int | None
"""What to sort by: a function, the name of an attribute, or a position within the item."""

_SHOWN = 20  # items that the display of IPython shows


def listify(items: Any) -> list[Any]:
    """Return a new list: of the items of a collection, or of one single thing.

    Strings, bytes and whatever has the shape of an array are single things.

    Parameters
    ----------
    items : object

    Returns
    -------
    list

    Examples
    --------
    >>> listify(None), listify("ab"), listify(range(2))
    ([], ['ab'], [0, 1])
    """
    if items is None:
        return []
    if isinstance(items, (str, bytes)) or hasattr(items, "__array__"):
        return [items]
    return list(items) if hasattr(items, "__iter__") else [items]


class L(Generic[T]):
    """A list of things.

    Parameters
    ----------
    items : object, optional
        None, a collection, a generator, or one single thing (a string and an array are single). An
        `L` is returned as it is.
    *rest : object
        More things; then `items` is the first of them.
    use_list : bool
        Take an array or a string apart, too.

    Examples
    --------
    >>> names = L("grizzly", "black", "teddy")
    >>> names[[0, 2]]
    ['grizzly', 'teddy']
    >>> names.map(len).sorted()
    [5, 5, 7]
    """

    items: list[T]

    def __new__(cls, items: Any = None, *rest: Any, **options: Any) -> Self:
        if cls is L and isinstance(items, cls) and not rest and not options:
            return items
        return super().__new__(cls)

    @overload
    def __init__(self, items: Iterable[T] | None = None, *, use_list: bool = False) -> None: ...
    @overload
    def __init__(self, items: T, *rest: T, use_list: bool = False) -> None: ...
    def __init__(self, items: Any = None, *rest: Any, use_list: bool = False) -> None:
        if items is self:
            return
        if rest:
            items = (items, *rest)
        self.items = list(items) if use_list and items is not None else listify(items)

    @classmethod
    def range(cls, *args: SupportsIndex) -> L[int]:
        """An `L` of ``range(*args)``."""
        return cls(range(*args))

    # --- display ---

    def __repr__(self) -> str:
        return repr(self.items)

    def _repr_pretty_(self, p: Any, cycle: bool) -> None:
        p.text("..." if cycle else self._counted())

    def _counted(self) -> str:
        shown = ",".join(map(repr, self.items[:_SHOWN]))
        return f"(#{len(self)}) [{shown}{'...' if len(self) > _SHOWN else ''}]"

    # --- as a list ---

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __reversed__(self) -> L[T]:
        return L(self.items[::-1])

    def __contains__(self, item: object) -> bool:
        return any(_same(item, o) for o in self.items)

    @overload
    def __getitem__(self, index: slice | Iterable[SupportsIndex]) -> L[T]: ...
    @overload
    def __getitem__(self, index: SupportsIndex) -> T: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return L(self.items[index])
        if _is_integer(index):
            return self.items[index]
        return L([self.items[i] for i in self._indices(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice) or _is_integer(index):
            self.items[index] = value
            return
        indices = self._indices(index)
        values = [value] * len(indices) if len(listify(value)) == 1 else list(value)
        for i, v in list(zip(indices, values, strict=True)):  # all or nothing
            self.items[i] = v

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        del self.items[index]

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, (str, bytes)) or not hasattr(other, "__iter__"):
            return NotImplemented
        other = list(other)
        return len(self) == len(other) and all(map(_same, self.items, other))

    __hash__ = None  # type: ignore[assignment]  # as that of list

    def __add__(self, other: Iterable[T] | T) -> L[T]:
        return L(self.items + listify(other))

    def __radd__(self, other: Iterable[T] | T) -> L[T]:
        return L(listify(other) + self.items)

    def __iadd__(self, other: Iterable[T] | T) -> Self:
        self.items += listify(other)
        return self

    def __mul__(self, times: SupportsIndex) -> L[T]:
        return L(self.items * times)

    __rmul__ = __mul__

    def append(self, item: T) -> None:
        """Add one item at the end."""
        self.items.append(item)

    def extend(self, items: Iterable[T]) -> None:
        """Add all of `items` at the end."""
        self.items.extend(items)

    def insert(self, index: SupportsIndex, item: T) -> None:
        """Add one item before `index`."""
        self.items.insert(index, item)

    def remove(self, item: T) -> None:
        """Remove the first item that equals `item`, or raise ValueError."""
        self.items.remove(item)

    def pop(self, index: SupportsIndex = -1) -> T:
        """Remove and return one item."""
        return self.items.pop(index)

    def clear(self) -> None:
        """Remove all items."""
        self.items.clear()

    def index(self, item: T) -> int:
        """Position of the first item that equals `item`, or ValueError."""
        return self.items.index(item)

    def count(self, item: T) -> int:
        """How many items equal `item`."""
        return self.items.count(item)

    def reverse(self) -> None:
        """Turn the order around, in place."""
        self.items.reverse()

    def sort(self, key: Key = None, reverse: bool = False) -> None:
        """Sort in place; `key` as in `sorted`."""
        self.items.sort(key=_key_function(key), reverse=reverse)

    def copy(self) -> L[T]:
        """A new `L` of the same items."""
        return L(self.items.copy())

    # --- as in a notebook ---

    @overload
    def map(self, f: str, *args: Any, **kwargs: Any) -> L[str]: ...
    @overload
    def map(self, f: Callable[..., U], *args: Any, **kwargs: Any) -> L[U]: ...
    @overload
    def map(self, f: Lookup, *args: Any, **kwargs: Any) -> L[Any]: ...
    def map(self, f: Any, *args: Any, **kwargs: Any) -> L[Any]:
        """An `L` of `f` of every item.

        Parameters
        ----------
        f : callable, str, or object with items
            A string is a format (``'{}.jpg'``); a dict, list or array is looked up.
        *args, **kwargs
            Passed on after the item.

        Returns
        -------
        L

        Examples
        --------
        >>> L(1, 2).map("no{}"), L("a", "b").map({"a": 1, "b": 2}), L(1, 2).map(pow, 2)
        (['no1', 'no2'], [1, 2], [1, 4])
        """
        return L([_call(f, o, args, kwargs) for o in self.items])

    def starmap(self: L[Any], f: Callable[..., U], *args: Any, **kwargs: Any) -> L[U]:
        """An `L` of ``f(*item, *args, **kwargs)``."""
        return L([f(*o, *args, **kwargs) for o in self.items])

    def map_dict(self, f: Any) -> dict[T, Any]:
        """A dict from every item to `f` of it."""
        return {o: _call(f, o, (), {}) for o in self.items}

    def filter(
        self, f: Callable[..., Any] | None = None, negate: bool = False, **kwargs: Any
    ) -> L[T]:
        """The items for which `f` (or the item itself) is true; with `negate`, the others."""
        return self[self.argwhere(f, negate, **kwargs)]

    def argwhere(
        self, f: Callable[..., Any] | None = None, negate: bool = False, **kwargs: Any
    ) -> L[int]:
        """The positions of what `filter` returns."""
        holds = bool if f is None else functools.partial(f, **kwargs)
        return L([i for i, o in enumerate(self.items) if bool(holds(o)) != negate])

    def argfirst(self, f: Callable[..., Any] | None, negate: bool = False) -> int | None:
        """The position of the first item for which `f` holds, or None."""
        return next(iter(self.argwhere(f, negate)), None)

    def sorted(self, key: Key = None, reverse: bool = False) -> L[T]:
        """A sorted `L`.

        Parameters
        ----------
        key : callable, str or int, optional
            A string names an attribute, an integer a position within the item.
        reverse : bool

        Returns
        -------
        L
        """
        found = self.copy()
        found.sort(key, reverse)
        return found

    @overload
    def unique(self, sort: bool = False, bidir: Literal[False] = False) -> L[T]: ...
    @overload
    def unique(self, sort: bool = False, *, bidir: Literal[True]) -> tuple[L[T], dict[T, int]]: ...
    def unique(self, sort: bool = False, bidir: bool = False) -> Any:
        """The distinct items, in order of first appearance or sorted.

        Parameters
        ----------
        sort : bool
        bidir : bool
            Return (items, dict from item to position).

        Returns
        -------
        L, or (L, dict)

        Examples
        --------
        >>> L(3, 1, 3).unique(), L(3, 1, 3).unique(sort=True, bidir=True)
        ([3, 1], ([1, 3], {1: 0, 3: 1}))
        """
        found = L(dict.fromkeys(self.items))
        if sort:
            found.sort()
        return (found, found.val2idx()) if bidir else found

    def val2idx(self) -> dict[T, int]:
        """A dict from every item to its position."""
        return {o: i for i, o in enumerate(self.items)}

    def attrgot(self, name: str, default: Any = None) -> L[Any]:
        """The attribute (of a dict: the value) `name` of every item."""
        return L(
            [
                o.get(name, default) if isinstance(o, dict) else getattr(o, name, default)
                for o in self.items
            ]
        )

    def itemgot(self: L[Any], *indices: Any) -> L[Any]:
        """``item[i]`` of every item; more indices go deeper."""
        return L([functools.reduce(operator.getitem, indices, o) for o in self.items])

    def enumerate(self) -> L[tuple[int, T]]:
        """An `L` of (position, item)."""
        return L(list(enumerate(self.items)))

    def zip(self: L[Any], cycled: bool = False) -> L[tuple[Any, ...]]:
        """An `L` of tuples across the items, which are collections.

        Parameters
        ----------
        cycled : bool
            Repeat the shorter ones until the longest ends.

        Returns
        -------
        L

        Examples
        --------
        >>> L([[1, 2], "ab"]).zip()
        [(1, 'a'), (2, 'b')]
        """
        if not cycled:
            return L(list(zip(*self.items)))
        longest = max(map(len, self.items), default=0)
        return L(list(itertools.islice(zip(*map(itertools.cycle, self.items)), longest)))

    def zipwith(self, *others: Iterable[Any], cycled: bool = False) -> L[tuple[Any, ...]]:
        """`zip` of this and `others`."""
        return L([self, *others]).zip(cycled=cycled)

    def concat(self) -> L[Any]:
        """An `L` with the items of all items."""
        return L(list(itertools.chain.from_iterable(map(listify, self.items))))

    def cycle(self) -> Iterator[T]:
        """An endless iterator over the items."""
        return itertools.cycle(self.items)

    def reduce(self: L[Any], f: Callable[[Any, Any], Any], *initial: Any) -> Any:
        """``functools.reduce`` over the items."""
        return functools.reduce(f, self.items, *initial)

    def sum(self) -> Any:
        """The sum of the items, 0 for none."""
        return sum(self.items)

    def product(self: L[Any]) -> Any:
        """The product of the items, 1 for none."""
        return self.reduce(operator.mul, 1)

    def _indices(self, index: Any) -> list[int]:
        """Positions that a mask or a collection of integers names."""
        chosen = np.asarray(index if hasattr(index, "__array__") else listify(index))
        if chosen.size == 0:
            return []
        if chosen.ndim == 1 and chosen.dtype == bool:
            if len(chosen) != len(self):
                raise IndexError(
                    f"L: `index` must have a value for each of {len(self)} items as a mask, "
                    f"got {len(chosen)}"
                )
            return np.flatnonzero(chosen).tolist()
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise TypeError(f"L: `index` must hold integers or be a mask, got {index!r}")
        indices: list[int] = chosen.tolist()
        return indices


def _is_integer(index: Any) -> bool:
    try:
        operator.index(index)
    except TypeError:
        return False
    return True


def _same(a: Any, b: Any) -> bool:
    """Equality as one bool, for arrays, too."""
    if hasattr(a, "__array__") or hasattr(b, "__array__"):
        return bool(np.array_equal(a, b))
    return bool(a == b)


def _call(f: Any, item: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if isinstance(f, str):
        return f.format(item, *args, **kwargs)
    return f(item, *args, **kwargs) if callable(f) else f[item]


def _key_function(key: Key) -> Callable[[Any], Any] | None:
    if isinstance(key, str):
        return operator.attrgetter(key)
    return operator.itemgetter(key) if isinstance(key, int) else key
