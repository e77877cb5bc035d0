"""Tables and text as HTML, for notebooks; all that comes in is text and is escaped.

Labels and file names may be of someone else's choosing: nothing of them may become markup.
"""

import html
from collections.abc import Iterable


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Return a table.

    Parameters
    ----------
    head : iterable
        The names of the columns.
    rows : iterable of iterables
        Cells, shown as ``str`` gives them.

    Returns
    -------
    str

    Examples
    --------
    >>> table(["label"], [["<b>"]]).partition("<tbody>")[2]
    '<tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return ('<table border="1" class="dataframe"><thead><tr style="text-align: left;">'
            f"{_cells('th', head)}</tr></thead><tbody>{body}</tbody></table>")


def _cells(kind: str, cells: Iterable[object]) -> str:
    return "".join(f"<{kind}>{html.escape(str(cell))}</{kind}>" for cell in cells)


def paragraph(text: str) -> str:
    """Return a paragraph.

    Examples
    --------
    >>> paragraph("5 > 3")
    '<p>5 &gt; 3</p>'
    """
    return f"<p>{html.escape(text)}</p>"


def preformatted(text: str) -> str:
    """Return text in the lines and columns that it has.

    Examples
    --------
    >>> preformatted("a & b")
    '<pre>a &amp; b</pre>'
    """
    return f"<pre>{html.escape(text)}</pre>"
