"""Who changed what."""

from aiohttp import web

from admin.page import page
from bookstore import trails
from bookstore.db import reading
from bookstore.records import LARGEST_ID
from web.keys import ENGINE

PAGE = 50
#: What is changed by staff, and where it is shown.
OBJECTS = {
    "book": "/admin/books/{}",
    "category": "/admin/categories?change={}",
    "notification": "/admin/notifications?letter={}",
    "task": "",
    "user": "/admin/users/{}",
}
_LONGEST_ID = 64


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/audit, filtered by object and by who changed it."""
    object_type = request.query.get("object", "")
    object_type = object_type if object_type in OBJECTS else ""
    object_id = request.query.get("id", "").strip()[:_LONGEST_ID]
    who = request.query.get("user", "")
    user_id = int(who) if who.isascii() and who.isdecimal() and len(who) < 19 else None
    cursor = request.query.get("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await trails.audit(
            conn,
            object_type=object_type or None,
            object_id=object_id or None,
            user_id=min(user_id, LARGEST_ID) if user_id is not None else None,
            cursor=cursor,
            limit=PAGE,
        )
        names = await trails.names(conn, {user_id} if user_id is not None else set())
    return await page(
        request,
        "audit.html",
        cursor=cursor,
        found=found,
        object_id=object_id,
        object_type=object_type,
        objects=OBJECTS,
        who=user_id,
        who_name=names.get(user_id, f"user {user_id}") if user_id is not None else None,
    )
