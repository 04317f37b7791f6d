"""The home page of the dashboard: sales figures and open work."""

from aiohttp import web

from admin import home_charts
from admin.rendering import page
from bookstore import orders
from bookstore.backoffice import audit_report, books, reports
from bookstore.database.engine import reading
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now

_LATEST = 6


async def show(request: web.Request) -> web.Response:
    """GET /admin; `days` is one of the periods."""
    role, moment = current_user(request).role, now()
    requested = request.query.get("days", "1")
    days = int(requested) if requested in map(str, home_charts.PERIODS) else 1
    sees_orders = permits(role, Permission.SEE_ORDERS)
    async with reading(request.config_dict[ENGINE]) as conn:
        alerts = await reports.alerts(conn, now=moment)
        stock = await books.stock(conn)
        latest = (await orders.find(conn, limit=_LATEST)).items if sees_orders else []
        figures = await home_charts.load(conn, days, now=moment) if sees_orders else None
        audit = None
        if permits(role, Permission.SEE_AUDIT):
            audit = (await audit_report.AUDIT.find(conn, limit=_LATEST)).items
    return await page(
        request,
        "home.html",
        audit=audit,
        days=days,
        figures=figures,
        orders=latest,
        periods=home_charts.PERIODS,
        stock=stock,
        alerts=alerts,
    )
