"""The numbers beside filters: counted once for everybody, and good for some seconds."""

import time
from collections import OrderedDict
from dataclasses import replace

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import facets
from bookstore.facets import Facets
from bookstore.listing import Query

#: Nobody notices that a book more or less has come in since.
_KEPT_S = 10.0
_MOST = 500


class Counts:
    """Numbers by what was asked."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Query, tuple[float, Facets]] = OrderedDict()

    async def get(self, conn: AsyncConnection, query: Query) -> Facets:
        """The numbers for this list, however it is sorted.

        Raises:
            Invalid: there is no such language.
        """
        asked = replace(query, sort=None)
        until, found = self._kept.get(asked, (0.0, None))
        if found is None or until <= time.monotonic():
            found = await facets.count(conn, asked)
            self._kept[asked] = time.monotonic() + _KEPT_S, found
            self._kept.move_to_end(asked)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        return found


COUNTS = web.AppKey("store_counts", Counts)
