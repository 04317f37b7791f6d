"""The numbers beside the filters, cached for some seconds for all visitors."""

import time
from collections import OrderedDict
from dataclasses import replace

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import facets
from bookstore.catalogue.facets import Facets
from bookstore.catalogue.listing import BookQuery

#: Lifetime of a count.  A difference of a few books is not noticeable.
_CACHE_S = 10.0
_MAX_ENTRIES = 500


class FacetCounts:
    """A cache of counts by query.  Lists that differ in one filter share most of them."""

    def __init__(self) -> None:
        self._cache: OrderedDict[BookQuery, tuple[float, Facets]] = OrderedDict()

    async def get(self, conn: AsyncConnection, query: BookQuery) -> Facets:
        """The numbers for this list, however it is sorted.

        Raises:
            Invalid: there is no such language.
        """
        return await facets.count(conn, replace(query, sort=None), self._count_cached)

    async def _count_cached(self, conn: AsyncConnection, query: BookQuery) -> Facets:
        until, found = self._cache.get(query, (0.0, None))
        if found is None or until <= time.monotonic():
            found = await facets.count_matches(conn, query)
            self._cache[query] = time.monotonic() + _CACHE_S, found
            self._cache.move_to_end(query)
            if len(self._cache) > _MAX_ENTRIES:
                self._cache.popitem(last=False)
        return found


FACET_COUNTS = web.AppKey("store_counts", FacetCounts)
