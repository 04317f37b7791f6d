"""Users: found, given a role, shut out."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.page import carry_out, page
from bookstore import notifications, orders, trails, users
from bookstore.db import reading
from bookstore.drafts import plain
from bookstore.errors import Invalid
from bookstore.permissions import GRANTS, Permission, Role, permits
from web.keys import ENGINE
from web.requests import now
from web.sessions import me
from web.store import forms

PAGE = 25
_LATEST = 10
SUBJECT_LENGTH = 200
BODY_LENGTH = 10_000


async def show_all(request: web.Request) -> web.Response:
    """GET /admin/users: by name or address, the newest first."""
    q = " ".join(request.query.get("q", "").split())[:200]
    cursor = request.query.get("cursor")
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await users.find(conn, q, cursor=cursor, limit=PAGE)
    return await page(request, "users.html", cursor=cursor, found=found, q=q)


async def show(request: web.Request) -> web.Response:
    """GET /admin/users/{user_id}."""
    user_id, role = int(request.match_info["user_id"]), me(request).role
    async with reading(request.config_dict[ENGINE]) as conn:
        person = await users.get(conn, user_id)
        bought = None
        if permits(role, Permission.SEE_ORDERS):
            bought = await orders.of_user(conn, user_id, limit=_LATEST)
        audit = None
        if permits(role, Permission.SEE_AUDIT):
            audit = (
                await trails.audit(conn, object_type="user", object_id=str(user_id), limit=_LATEST)
            ).items
    return await page(
        request,
        "user.html",
        audit=audit,
        bought=bought,
        grants=GRANTS,
        person=person,
        roles=list(Role),
    )


async def change_role(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/role."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        if form.get("role") not in set(Role):
            raise Invalid("role", "There is no such role.")
        person = await users.change_role(
            conn, user_id, Role(form["role"]), by=me(request).id, now=now()
        )
        return f"{person.name} is {person.role} now."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def change_disabled(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/disabled: `yes` shuts out, `no` lets in again."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        person = await users.change_disabled(
            conn, user_id, form.get("disabled") == "yes", by=me(request).id, now=now()
        )
        if person.disabled:
            return f"{person.name} is shut out, and signed out everywhere."
        return f"{person.name} may sign in again."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def write(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/message: a letter in staff's own words."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        subject = plain("subject", form.get("subject", ""), SUBJECT_LENGTH)
        body = form.get("body", "").strip()
        if not body:
            raise Invalid("body", "A letter needs words.")
        if len(body) > BODY_LENGTH:
            raise Invalid("body", f"A letter has at most {BODY_LENGTH} characters.")
        person = await users.get(conn, user_id)
        await notifications.write(conn, user_id, subject, body, by=me(request).id, now=now())
        return f"The letter to {person.name} is on its way."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")
