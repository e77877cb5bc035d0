"""The list of fastcore: both texts, indexing, and the methods of a notebook."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from IPython.lib.pretty import pretty

from mlclassify.data.lists import L
from mlclassify.tensor import tensor


def test_print_shows_a_list_and_ipython_the_count():
    labels = L("black", "teddy")
    assert str(labels) == repr(labels) == "['black', 'teddy']"
    assert pretty(labels) == "(#2) ['black','teddy']"
    assert pretty(L()) == "(#0) []"
    assert pretty((L("a"), 1)) == "((#1) ['a'], 1)"


def test_ipython_shows_20_items():
    assert pretty(L.range(20)).endswith(",18,19]")
    assert pretty(L.range(21)) == f"(#21) [{','.join(map(str, range(20)))}...]"


def test_a_list_in_itself_can_be_shown():
    loop = L(1)
    loop.append(loop)
    assert "..." in pretty(loop)


@pytest.mark.parametrize(
    "made, items",
    [
        (L(), []), (L(None), []), (L([1, 2]), [1, 2]), (L((1, 2)), [1, 2]), (L("ab"), ["ab"]),
        (L(b"ab"), [b"ab"]), (L(x for x in "ab"), ["a", "b"]), (L({"k": 1}), ["k"]), (L(3), [3]),
        (L(1, 2, 3), [1, 2, 3]), (L("a", "b"), ["a", "b"]), (L(Path("x")), [Path("x")]),
        (L(np.arange(3), use_list=True), [0, 1, 2]), (L("ab", use_list=True), ["a", "b"]),
        (L(range(2)), [0, 1]), (L([[1], [2]]), [[1], [2]]), (L(None, use_list=True), []),
    ],
)  # fmt: skip
def test_what_becomes_of_arguments(made, items):
    assert made.items == items


def test_arrays_are_single_and_an_l_is_itself():
    a = np.arange(3)
    assert L(a).items[0] is a and len(L(tensor([1, 2]))) == 1
    same = L(1, 2)
    assert L(same) is same and L([same])[0] is same


def test_indexing():
    x = L("a", "b", "c", "d")
    assert x[1] == "b" and x[-1] == "d" and x[np.int64(2)] == "c"
    for index in ([0, 2], (0, 2), L(0, 2), np.array([0, 2]), tensor([0, 2]), slice(0, 4, 2)):
        assert isinstance(x[index], L) and x[index] == ["a", "c"]
    for mask in (
        [True, False, True, False],
        np.array([1, 0, 1, 0], bool),
        tensor([1, 0, 1, 0]) > 0,
    ):
        assert x[mask] == ["a", "c"]
    assert x[[]] == [] and x[tensor([3])] == ["d"] and x[tensor(1)] == "b"


def test_bad_indices_say_so():
    x = L("a", "b")
    with pytest.raises(IndexError, match="L: `index` must have a value for each of 2 items"):
        x[[True]]
    with pytest.raises(TypeError, match="L: `index` must hold integers or be a mask, got 'a'"):
        x["a"]
    with pytest.raises(TypeError, match="must hold integers"):
        x[[0.5]]
    with pytest.raises(IndexError):
        x[2]
    with pytest.raises(IndexError):
        x[[2]]


def test_assignment():
    x = L(1, 2, 3, 4)
    x[0] = 9
    x[[1, 2]] = 7, 8
    x[[3]] = 5
    assert x == [9, 7, 8, 5]
    x[[True, False, False, True]] = 0
    assert x == [0, 7, 8, 0]
    with pytest.raises(ValueError):
        x[[0, 1, 2]] = 1, 2
    del x[0]
    assert x == [7, 8, 0]


def test_equality_is_ordered_and_with_any_collection():
    assert L() == [] and not L() != [] and L(1) != []  # noqa: SIM202  __ne__ is asked
    assert L(1, 2) == (1, 2) and L(1, 2) == range(1, 3) and L(1, 2) != [2, 1] and L(1, 2) != [1]
    assert [1, 2] == L(1, 2) and L("a") != "a" and L(1) != 1 and L(1) != None  # noqa: E711
    assert L([np.arange(2)]) == [np.arange(2)] and L([np.arange(2)]) != [np.arange(3)]
    with pytest.raises(TypeError):
        hash(L())


def test_arithmetic():
    x = L(1)
    assert x + [2] == [1, 2] and [0] + x == [0, 1] and x + 2 == [1, 2] and x * 2 == 2 * x == [1, 1]
    assert isinstance([0] + x, L)
    y = x
    y += [3]
    assert x is y and x == [1, 3]


def test_list_methods():
    x = L()
    x.append("b")
    x.extend(["c", "b"])
    x.insert(0, "a")
    assert x == ["a", "b", "c", "b"] and x.count("b") == 2 and x.index("b") == 1 and "c" in x
    x.remove("b")
    assert x == ["a", "c", "b"] and x.pop() == "b" and x.pop(0) == "a"
    x.extend("ab")
    x.sort(reverse=True)
    assert x == ["c", "b", "a"] and list(reversed(x)) == ["a", "b", "c"]
    x.reverse()
    assert x == ["a", "b", "c"] and np.arange(2) in L([np.arange(2)])
    other = x.copy()
    other.clear()
    assert len(other) == 0 and len(x) == 3
    with pytest.raises(ValueError):
        x.remove("z")


def test_map():
    assert L(1, 2).map(str) == ["1", "2"] and L(1, 2).map("{}.jpg") == ["1.jpg", "2.jpg"]
    assert L("a", "b").map({"a": 0, "b": 1}) == [0, 1] and L(1, 0).map([5, 6]) == [6, 5]
    assert L("1", "11").map(int, base=2) == [1, 3] and L(3, 4).map(divmod, 2) == [(1, 1), (2, 0)]
    assert L((1, 2), (3, 4)).starmap(pow) == [1, 81] and L(1, 2).map_dict(str) == {1: "1", 2: "2"}


def test_map_as_in_the_post(tmp_path):
    (tmp_path / "a").touch()
    assert L(tmp_path / "a").map(Path.unlink) == [None] and not (tmp_path / "a").exists()


def test_filter_and_search():
    x = L(0, 3, 1, 2)
    assert x.filter() == [3, 1, 2] and x.filter(lambda o: o > 1) == [3, 2]
    assert x.filter(lambda o: o > 1, negate=True) == [0, 1]
    assert x.filter(lambda o, than: o > than, than=2) == [3]
    assert x.argwhere(lambda o: o > 1) == [1, 3] and x.argfirst(lambda o: o > 1) == 1
    assert x.argfirst(lambda o: o > 9) is None


def test_order():
    x = L("bb", "a", "ccc")
    assert x.sorted() == ["a", "bb", "ccc"] and x.sorted(len, reverse=True) == ["ccc", "bb", "a"]
    assert L(Path("b/x"), Path("a/y")).sorted("name") == [Path("b/x"), Path("a/y")]
    assert L((1, 2), (0, 3)).sorted(0) == [(0, 3), (1, 2)] and x == ["bb", "a", "ccc"]
    assert L(3, 1, 3).unique() == [3, 1] and L(3, 1, 3).unique(sort=True) == [1, 3]
    assert L(3, 1, 3).unique(bidir=True) == (L(3, 1), {3: 0, 1: 1})


def test_parts_of_items():
    x = L({"a": 1}, {"a": 2, "b": 3})
    assert x.attrgot("a") == [1, 2] and x.attrgot("b", 0) == [0, 3] and x.itemgot("a") == [1, 2]
    assert L(Path("a/b")).attrgot("name") == ["b"] and L([[[1, 2]]]).itemgot(0, 1) == [2]
    assert L("a", "b").enumerate() == [(0, "a"), (1, "b")]


def test_several_lists_at_once():
    x = L([[1, 2], [3, 4, 5]])
    assert x.zip() == [(1, 3), (2, 4)] and x.zip(cycled=True) == [(1, 3), (2, 4), (1, 5)]
    assert L(1, 2).zipwith("ab") == [(1, "a"), (2, "b")] and x.concat() == [1, 2, 3, 4, 5]
    assert L([1], "ab", 3).concat() == [1, "ab", 3] and L().zip() == L().concat() == []


def test_reductions():
    assert L(2, 3).sum() == 5 and L(2, 3).product() == 6 and L().product() == 1
    assert L(2, 3).reduce(pow) == 8 and L().reduce(pow, 1) == 1
    endless = L(1, 2).cycle()
    assert [next(endless) for _ in range(3)] == [1, 2, 1]


def test_copies_and_numpy():
    x = L(1, [2])
    for same in (pickle.loads(pickle.dumps(x)), copy.copy(x), copy.deepcopy(x)):
        assert isinstance(same, L) and same == x
    assert np.array(L(1, 2)).tolist() == [1, 2] and bool(L(0)) and not L()
