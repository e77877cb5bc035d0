"""Where on the web there are photos of something: search engines behind one question.

A provider is a function ``(query, max_images, **options)`` to an iterable of `ImageHit`. What a
search engine answers is not trusted either: it is text until it has been looked at.
"""

import inspect
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import urlencode

from mlclassify.checks import check_whole
from mlclassify.data.fetch import Fetcher, FetchError, Limits
from mlclassify.data.lists import L

OPENVERSE = "https://api.openverse.org/v1/images/"
_OPENVERSE_PAGE = 20  # the most that it gives to who has no account, once a second
_LIMITS = Limits(max_bytes=5_000_000, max_total=200_000_000, timeout=10, deadline=60, retries=3)
_MAX_PAGES = 50
_TRIES = 3


@dataclass(frozen=True)
class ImageHit:
    """A photo that a search found.

    Attributes
    ----------
    url : str
        Of the photo itself.
    title : str
    page : str
        The page that it is on.
    creator, licence : str
        As far as the provider says.
    """

    url: str
    title: str = ""
    page: str = ""
    creator: str = ""
    licence: str = ""


Provider: TypeAlias = Callable[..., Iterable[str | ImageHit]]
"""A function ``(query, max_images, **options)``."""


class SearchError(RuntimeError):
    """A provider that does not answer."""


def search_images(
    query: str,
    max_images: int = 100,
    provider: Literal["ddgs", "openverse"] | Provider = "ddgs",
    **options: Any,
) -> L[ImageHit]:
    """Find photos of something on the web.

    Parameters
    ----------
    query : str
        Such as 'grizzly bear'.
    max_images : int
    provider : {'ddgs', 'openverse'} or function ``(query, max_images, **options)``
        'ddgs' asks search engines through the package of that name; the photos are whose they are.
        'openverse' asks a catalogue of photos with open licences, and says who made them. A
        function returns addresses or `ImageHit` objects.
    **options
        Of the provider: for 'ddgs' those of its ``images``, such as ``type_image='photo'``; for
        'openverse' parameters of its search, such as ``license_type='commercial'``.

    Returns
    -------
    L of ImageHit
        Each address once, at most `max_images`.

    Raises
    ------
    ValueError
        `query` is empty, or there is no such provider.
    ImportError
        The extra ``[scrape]`` is not installed.
    SearchError
        The provider does not answer.

    Examples
    --------
    >>> search_images("teddy", 2, provider=lambda query, n: ["http://a/1.jpg", "http://a/1.jpg"])
    [ImageHit(url='http://a/1.jpg', title='', page='', creator='', licence='')]
    """
    max_images = check_whole("search_images", "max_images", max_images, at_least=1)
    if not isinstance(query, str) or not query.strip():
        raise ValueError(f"search_images: `query` must be a text that is not empty, got {query!r}")
    hits: dict[str, ImageHit] = {}
    for found in _provider(provider)(query.strip(), max_images, **options):
        hit = found if isinstance(found, ImageHit) else ImageHit(str(found))
        if hit.url:
            hits.setdefault(hit.url, hit)
        if len(hits) == max_images:
            break
    return L(list(hits.values()))


def _provider(provider: str | Provider) -> Provider:
    if callable(provider):
        return provider
    known = {"ddgs": _search_ddgs, "openverse": _search_openverse}
    if not isinstance(provider, str) or provider not in known:
        raise ValueError(
            "search_images: `provider` must be 'ddgs', 'openverse' or a function "
            f"(query, max_images) -> addresses of photos, got {provider!r}"
        )
    return known[provider]


# --- ddgs: search engines ---


def _search_ddgs(query: str, max_images: int, **options: Any) -> Iterator[ImageHit]:
    """Yield hits, page by page until one has nothing new: an engine gives one page at a time."""
    engine = _import_ddgs().DDGS()
    seen: set[str] = set()
    for page in range(1, _MAX_PAGES + 1):
        found = _ask_ddgs(engine, query, max_images, page, options)
        new = [hit for hit in map(_hit_of_ddgs, found) if hit.url and hit.url not in seen]
        if not new:
            return
        seen.update(hit.url for hit in new)
        yield from new


def _import_ddgs() -> Any:
    try:
        import ddgs
    except ImportError as error:
        raise ImportError(
            "search_images: needs ddgs, which is not installed; pip install 'mlclassify[scrape]', "
            "or search with provider='openverse'"
        ) from error
    return ddgs


def _ask_ddgs(
    engine: Any, query: str, max_images: int, page: int, options: dict[str, Any]
) -> list[Any]:
    """Return one page of raw hits; one that is refused is asked for again, a little later."""
    # Its releases named the number differently; the query always came first.
    parameters = inspect.signature(engine.images).parameters
    number = "num_results" if "num_results" in parameters else "max_results"
    for turn in range(_TRIES):
        try:
            hits: list[Any] = engine.images(query, **{number: max_images, "page": page, **options})
            return hits
        except Exception as error:  # it lets those of the libraries below it through
            if "No results" in str(error) or page > 1:
                return []
            last = error
        if turn + 1 < _TRIES:
            time.sleep(2.0**turn)
    raise SearchError(
        f"search_images: `provider` 'ddgs' must answer, got {type(last).__name__}: {last}; try "
        "again later, or search with provider='openverse'"
    ) from last


def _hit_of_ddgs(found: Any) -> ImageHit:
    return ImageHit(*(_text(found, key) for key in ("image", "title", "url")))


# --- Openverse: open licences ---


def _search_openverse(query: str, max_images: int, **options: Any) -> Iterator[ImageHit]:
    """Yield hits, page by page."""
    with Fetcher("search_images", _LIMITS) as web:
        for page in range(1, _MAX_PAGES + 1):
            if page > 1:
                time.sleep(1)
            size = min(_OPENVERSE_PAGE, max_images)
            asked = {"q": query, "page": page, "page_size": size, **options}
            answer = _ask_openverse(web, f"{OPENVERSE}?{urlencode(asked)}")
            yield from map(_hit_of_openverse, answer["results"])
            if page >= answer["page_count"]:
                return


def _ask_openverse(web: Fetcher, url: str) -> dict[str, Any]:
    """Return its answer, as far as it is what it should be."""
    try:
        answer: dict[str, Any] = json.loads(web.get(url))
        if isinstance(answer["results"], list) and isinstance(answer["page_count"], int):
            return answer
        got = "something else"
    except FetchError as error:
        got = str(error)
    except (ValueError, KeyError, TypeError, RecursionError):
        got = "something else"
    raise SearchError(
        f"search_images: `provider` 'openverse' must answer with photos, got {got} from {url}; "
        "try again later, or search with provider='ddgs'"
    )


def _hit_of_openverse(found: Any) -> ImageHit:
    licence = " ".join(_text(found, key) for key in ("license", "license_version")).strip()
    keys = ("url", "title", "foreign_landing_url", "creator")
    url, title, page, creator = (_text(found, key) for key in keys)
    return ImageHit(url, title, page, creator, licence)


def _text(found: Any, key: str) -> str:
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
