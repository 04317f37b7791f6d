"""The page of one user: orders, sessions, role, access and personal data."""

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.access import made_by
from admin.rendering import NO_ERROR, FormError, page, run_action, run_form
from bookstore import audit, notifications, orders
from bookstore.backoffice import audit_report
from bookstore.backoffice.audit_report import AuditQuery
from bookstore.catalogue.validation import single_line
from bookstore.database.engine import reading
from bookstore.errors import BookstoreError, Invalid
from bookstore.privacy import data_export
from bookstore.users import accounts, sessions, two_factor
from bookstore.users.accounts import User
from bookstore.users.permissions import GRANTS, Permission, Role, permits
from web.api.privacy import DataExportOut
from web.auth import erasure
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.server.transactions import read, write
from web.store import flash, forms

_LATEST = 10
MAX_SUBJECT_LENGTH = 200
MAX_BODY_LENGTH = 10_000


async def show(request: web.Request, form_error: FormError = NO_ERROR) -> web.Response:
    """GET /admin/users/{user_id}."""
    user_id, role = int(request.match_info["user_id"]), current_user(request).role
    async with reading(request.config_dict[ENGINE]) as conn:
        person = await accounts.get(conn, user_id)
        devices = await sessions.of_user(conn, user_id, now=now())
        orders_found = None
        if permits(role, Permission.SEE_ORDERS):
            orders_found = await orders.of_user(conn, user_id, limit=_LATEST)
        changes = None
        if permits(role, Permission.SEE_AUDIT):
            changes = (
                await audit_report.AUDIT.find(
                    conn, AuditQuery(object_type="user", object_id=str(user_id)), limit=_LATEST
                )
            ).items
    return await page(
        request,
        "user.html",
        audit=changes,
        orders=orders_found,
        devices=devices,
        grants=GRANTS,
        permissions=list(Permission),
        person=person,
        form_error=form_error.for_fields(_form_fields(person, request)),
        roles=list(Role),
    )


def _form_fields(person: User, request: web.Request) -> set[str]:
    """The form fields of the page.

    Users cannot change their own account here, and disabled users receive no e-mails.
    """
    fields = set() if person.disabled else {"subject", "body"}
    return fields if person.id == current_user(request).id else {*fields, "role", "email"}


async def change_role(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/role."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        if form.get("role") not in set(Role):
            raise Invalid("role", "This role does not exist.")
        seen = form.get("seen")
        if seen and seen != (await accounts.get(conn, user_id)).role:
            raise Invalid(
                "role",
                "Another user has changed the role in the meantime. Check it and choose again.",
            )
        person = await accounts.change_role(
            conn, user_id, Role(form["role"]), by=current_user(request).id, now=now()
        )
        return f"{person.name} now has the role {person.role}."

    if error := await run_form(request, work):
        return await show(
            request, FormError.from_error(error, "role", {"role": form.get("role", "")})
        )
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def change_disabled(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/disabled: `yes` disables the account, `no` enables it."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        if form.get("disabled") not in ("yes", "no"):
            raise Invalid("disabled", "Use the buttons of the page.")
        person = await accounts.change_disabled(
            conn, user_id, form["disabled"] == "yes", by=current_user(request).id, now=now()
        )
        if person.disabled:
            return f"{person.name} is disabled and signed out everywhere."
        return f"{person.name} is enabled and can sign in again."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def remove_second_factor(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/second-factor: for users who lost their authenticator."""
    user_id = int(request.match_info["user_id"])

    async def work(conn: AsyncConnection) -> str:
        person = await accounts.get(conn, user_id)
        await two_factor.remove(conn, user_id, by=current_user(request).id, now=now())
        return f"{person.name} can now sign in without a code and is notified by e-mail."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def export(request: web.Request) -> web.Response:
    """GET /admin/users/{user_id}/export.json: the personal data of the user, for the user."""
    user_id = int(request.match_info["user_id"])
    async with reading(request.config_dict[ENGINE]) as conn:
        await accounts.get(conn, user_id)
        held = await data_export.of_user(conn, user_id)
    details = {"personal_data": None}
    await write(request, audit.record, "export", "user", user_id, details, **made_by(request))
    text = DataExportOut().dumps({"exported_at": now(), "held": held})
    return web.Response(
        text=text,
        content_type="application/json",
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="user-{user_id}.json"',
        },
    )


async def erase(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/erase: erase personal data, confirmed by the e-mail address."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)
    person = await read(request, accounts.get, user_id)
    try:
        if form.get("email", "").strip().casefold() != person.email.casefold():
            raise Invalid(
                "email", "To confirm, enter the e-mail address of the user as shown here."
            )
        if user_id == current_user(request).id:
            raise Invalid("email", "You cannot erase your own account here.")
        await erasure.erase(request, user_id)
    except BookstoreError as error:
        return await show(
            request, FormError.from_error(error, "email", {"email": form.get("email", "")})
        )
    await flash.add(request, "ok", "The personal data was erased. Orders no longer contain it.")
    raise web.HTTPSeeOther("/admin/users")


async def end_sessions(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/sessions: sign the user out everywhere, or on one `device`."""
    user_id, form = int(request.match_info["user_id"]), await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        person = await accounts.get(conn, user_id)
        device = form.get("device", "")
        if device:
            await sessions.end_device(conn, user_id, device)
        else:
            await sessions.end_all(conn, user_id)
        details = {"sessions": ["one" if device else "all", None]}
        await audit.record(conn, "end-sessions", "user", user_id, details, **made_by(request))
        return f"{person.name} is signed out {'there' if device else 'everywhere'}."

    await run_action(request, work)
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")


async def send_message(request: web.Request) -> web.Response:
    """POST /admin/users/{user_id}/message: send an e-mail with a text by staff."""
    user_id = int(request.match_info["user_id"])
    form = forms.once(await forms.sent(request, forms.LONG))

    async def work(conn: AsyncConnection) -> str:
        subject = single_line("subject", form.get("subject", ""), MAX_SUBJECT_LENGTH)
        body = form.get("body", "").strip()
        if not body:
            raise Invalid("body", "Enter a message.")
        if len(body) > MAX_BODY_LENGTH:
            raise Invalid("body", f"A message has at most {MAX_BODY_LENGTH} characters.")
        person = await accounts.get(conn, user_id)
        await notifications.write(
            conn, user_id, subject, body, by=current_user(request).id, now=now()
        )
        return f"The e-mail to {person.name} is being sent."

    if error := await run_form(request, work):
        field = error.field if isinstance(error, Invalid) else "body"
        values = {name: form.get(name, "") for name in ("subject", "body")}
        return await show(request, FormError.from_error(error, field, values))
    raise web.HTTPSeeOther(f"/admin/users/{user_id}")
