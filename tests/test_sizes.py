"""Functions are short and lines are narrow: the bounds that CONTRIBUTING.md names."""

import pytest
from sizes import WIDTH, Function, c_functions, percentile, python_functions, sizes, wide_lines

C = """/* Not a function {. */
typedef struct {
    int a;
} pair;

static int one(pair p) { return p.a; }

/* Its comment does not count. */
static inline __attribute__((always_inline)) int two(int a,
                                                     int b)
{

    if (a) {
        return b;
    }
    return a;
}

BINDING(three)
{
    return NULL;
}
"""
PYTHON = '''
class A:
    def one(self):
        """A sentence.

        And more of it.
        """
        a = 1

        return a

    def two(self):
        """Only this."""

    def three(self):
        def four(): return 4
        return four
'''


def test_functions_of_c_are_found_and_counted():
    assert c_functions(C) == [
        Function(1, "one", "", 6), Function(8, "two", "", 9), Function(4, "three", "", 19)]


def test_functions_of_python_are_found_and_counted():
    found = {function.name: function.lines for function in python_functions(PYTHON)}
    assert found == {"one": 2, "two": 0, "three": 2, "four": 1}


def test_percentiles():
    of = [Function(lines, "", "", 0) for lines in (5, 1, 2, 4, 3, 10, 9, 8, 7, 6)]
    assert (percentile(of, 50), percentile(of, 90), percentile(of, 100)) == (5, 9, 10)


@pytest.mark.parametrize("language, half, most", [("C", 15, 60), ("Python", 8, 20)])
def test_functions_are_short(language, half, most):
    functions = sizes()[language]
    assert len(functions) > 700
    assert percentile(functions, 50) <= half and percentile(functions, 90) <= most


def test_lines_are_narrow():
    wide = wide_lines()
    assert not wide, f"wider than {WIDTH}: {', '.join(wide)}"
