"""Text for a terminal that obeys nothing in it.

Names of files and labels may be of someone else's choosing, and a terminal takes some characters
for orders: to clear the screen, to set its title, to turn the direction of the text around them.
"""

import re
from typing import Any, TextIO

# Controls but tab and newline, and the marks that turn the direction of text (Unicode TR 9).
_ORDERS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    r"""Return a text with what a terminal would obey written as Python escapes it.

    Examples
    --------
    >>> print(plain("a bear\x1b[2J"))
    a bear\x1b[2J
    """
    return _ORDERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class PlainFile:
    """A text file that is written through `plain`; all else is the file's own.

    Parameters
    ----------
    file : text file
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Write a text; return how many characters were given."""
        self._file.write(plain(text))
        return len(text)
