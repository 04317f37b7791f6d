"""The first page: how it goes, and what is to be done."""

from aiohttp import web

from admin import figures
from admin.page import page
from bookstore import orders, reports, trails
from bookstore.db import reading
from bookstore.desk import books
from bookstore.permissions import Permission, permits
from web.keys import ENGINE
from web.requests import now
from web.sessions import me

_LATEST = 6


async def show(request: web.Request) -> web.Response:
    """GET /admin; `days` is one of the periods."""
    role, moment = me(request).role, now()
    asked = request.query.get("days", "1")
    days = int(asked) if asked in map(str, figures.PERIODS) else 1
    sees_orders = permits(role, Permission.SEE_ORDERS)
    async with reading(request.config_dict[ENGINE]) as conn:
        worries = await reports.worries(conn, now=moment)
        stock = await books.stock(conn)
        latest = (await orders.find(conn, limit=_LATEST)).items if sees_orders else []
        shown = await figures.load(conn, days, now=moment) if sees_orders else None
        audit = None
        if permits(role, Permission.SEE_AUDIT):
            audit = (await trails.audit(conn, limit=_LATEST)).items
    return await page(
        request,
        "home.html",
        audit=audit,
        days=days,
        figures=shown,
        orders=latest,
        periods=figures.PERIODS,
        stock=stock,
        worries=worries,
    )
