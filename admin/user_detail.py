"""One user: what they ordered, where they are signed in, what they may do."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.rendering import NO_REFUSAL, Refusal, attempt, carry_out, page
from bookstore import audit, notifications, orders
from bookstore.backoffice import audit_report
from bookstore.backoffice.audit_report import Asked
from bookstore.catalogue.validation import plain
from bookstore.database.engine import reading, transaction
from bookstore.errors import BookstoreError, Invalid
from bookstore.privacy import data_export
from bookstore.users import accounts, sessions, two_factor
from bookstore.users.accounts import User
from bookstore.users.permissions import GRANTS, Permission, Role, permits
from web.api.privacy import DataExportOut
from web.auth import erasure
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms

_LATEST = 10
SUBJECT_LENGTH = 200
BODY_LENGTH = 10_000


async def show(request: web.Request, refusal: Refusal = NO_REFUSAL) -> web.Response:
    """GET /admin/users/{user_id}."""
    user_id, role = int(request.match_info["user_id"]), me(request).role
    async with reading(request.config_dict[ENGINE]) as conn:
        person = await accounts.get(conn, user_id)
        devices = await sessions.of_user(conn, user_id, now=now())
        bought = None
        if permits(role, Permission.SEE_ORDERS):
            bought = await orders.of_user(conn, user_id, limit=_LATEST)
        changes = None
        if permits(role, Permission.SEE_AUDIT):
            changes = (
                await audit_report.audit(
                    conn, Asked(object_type="user", object_id=str(user_id)), limit=_LATEST
                )
            ).items
    return await page(
        request,
        "user.html",
        audit=changes,
        bought=bought,
        devices=devices,
        grants=GRANTS,
        permissions=list(Permission),
        person=person,
        refusal=refusal.among(_places(person, request)),
        roles=list(Role),
    )


def _places(person: User, request: web.Request) -> set[str]:
    """Where the page has fields; nobody changes themselves, or writes to those who are out."""
    written = set() if person.disabled else {"subject", "body"}
    return written if person.id == me(request).id else {*written, "role", "email"}


async def change_role(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/role."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        if form.get("role") not in set(Role):
            raise Invalid("role", "There is no such role.")
        seen = form.get("seen")
        if seen and seen != (await accounts.get(conn, user_id)).role:
            raise Invalid("role", "Somebody gave another role meanwhile. Look again, then choose.")
        person = await accounts.change_role(
            conn, user_id, Role(form["role"]), by=me(request).id, now=now()
        )
        return f"{person.name} is {person.role} now."

    if error := await attempt(request, work):
        return await show(request, Refusal.of(error, "role", {"role": form.get("role", "")}))
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def change_disabled(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/disabled: `yes` shuts out, `no` lets in again."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        if form.get("disabled") not in ("yes", "no"):
            raise Invalid("disabled", "This is done with the buttons of the page.")
        person = await accounts.change_disabled(
            conn, user_id, form["disabled"] == "yes", by=me(request).id, now=now()
        )
        if person.disabled:
            return f"{person.name} is shut out, and signed out everywhere."
        return f"{person.name} may sign in again."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def remove_second_factor(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/second-factor: for somebody who lost what makes their codes."""
    user_id = int(request.match_info["user_id"])

    async def work(conn: AsyncConnection) -> str:
        person = await accounts.get(conn, user_id)
        await two_factor.remove(conn, user_id, by=me(request).id, now=now())
        return f"{person.name} signs in without a code now, and a letter says so."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def export(request: web.Request) -> web.Response:
    """GET /admin/users/{user_id}/export.json: everything that is held about them, for them."""
    user_id = int(request.match_info["user_id"])
    moment = now()
    async with reading(request.config_dict[ENGINE]) as conn:
        await accounts.get(conn, user_id)
        held = await data_export.of_user(conn, user_id)
    async with transaction(request.config_dict[ENGINE]) as conn:
        by = me(request).id
        told = {"personal_data": None}
        await audit.record(conn, "export", "user", user_id, told, user_id=by, now=moment)
    text = DataExportOut().dumps({"exported_at": moment, "held": held})
    return web.Response(
        text=text,
        content_type="application/json",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="user-{user_id}.json"',
        },
    )


async def erase(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/erase: their personal data goes, if their address is typed."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        person = await accounts.get(conn, user_id)
    try:
        if form.get("email", "").strip().casefold() != person.email.casefold():
            raise Invalid("email", "To erase them, type their e-mail address as it stands here.")
        if user_id == me(request).id:
            raise Invalid("email", "Nobody erases their own account here.")
        await erasure.erase(request, user_id)
    except BookstoreError as error:
        return await show(request, Refusal.of(error, "email", {"email": form.get("email", "")}))
    await flash.leave(request, "ok", "What was personal is gone. Their orders name nobody now.")
    raise web.HTTPSeeOther("/admin/users")


async def end_sessions(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/sessions: signed out everywhere, or on one `device`."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        person = await accounts.get(conn, user_id)
        device = form.get("device", "")
        if device:
            await sessions.end_device(conn, user_id, device)
        else:
            await sessions.end_all(conn, user_id)
        told = {"sessions": ["one" if device else "all", None]}
        by = me(request).id
        await audit.record(conn, "end-sessions", "user", user_id, told, user_id=by, now=now())
        return f"{person.name} is signed out {'there' if device else 'everywhere'}."

    await carry_out(request, work)
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def write(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/message: a letter in staff's own words."""
    user_id = int(request.match_info["user_id"])
    form = forms.once(await forms.sent(request, forms.LONG))

    async def work(conn: AsyncConnection) -> str:
        subject = plain("subject", form.get("subject", ""), SUBJECT_LENGTH)
        body = form.get("body", "").strip()
        if not body:
            raise Invalid("body", "A letter needs words.")
        if len(body) > BODY_LENGTH:
            raise Invalid("body", f"A letter has at most {BODY_LENGTH} characters.")
        person = await accounts.get(conn, user_id)
        await notifications.write(conn, user_id, subject, body, by=me(request).id, now=now())
        return f"The letter to {person.name} is on its way."

    if error := await attempt(request, work):
        place = error.field if isinstance(error, Invalid) else "body"
        letter = {name: form.get(name, "") for name in ("subject", "body")}
        return await show(request, Refusal.of(error, place, letter))
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")
