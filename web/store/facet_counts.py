"""The numbers beside filters: counted once for everybody, and good for some seconds."""

import time
from collections import OrderedDict
from dataclasses import replace

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import facets
from bookstore.catalogue.facets import Facets
from bookstore.catalogue.listing import Query

#: Nobody notices that a book more or less has come in since.
_KEPT_S = 10.0
_MOST = 500


class Counts:
    """Numbers by what was asked; lists that differ in one choice share most of theirs."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Query, tuple[float, Facets]] = OrderedDict()

    async def get(self, conn: AsyncConnection, query: Query) -> Facets:
        """The numbers for this list, however it is sorted.

        Raises:
            Invalid: there is no such language.
        """
        return await facets.count(conn, replace(query, sort=None), self._tally)

    async def _tally(self, conn: AsyncConnection, query: Query) -> Facets:
        until, found = self._kept.get(query, (0.0, None))
        if found is None or until <= time.monotonic():
            found = await facets.tally(conn, query)
            self._kept[query] = time.monotonic() + _KEPT_S, found
            self._kept.move_to_end(query)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return found


COUNTS = web.AppKey("store_counts", Counts)
