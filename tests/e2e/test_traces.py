"""One request's id leads from the click to the e-mail, through the logs of all programs."""

import asyncio
import json

import pytest

from tests.e2e.programs import EmailWorkers, Embedded, OrderWorkers, Web, Workers
from tests.e2e.shopper import ADDRESS, Shopper, some_books
from tests.servers.process import wait_until
from tests.servers.smtp import SmtpSink

PERSON = {
    "email": "mira.soerensen.of.altona@example.com",
    "password": "eleven unlikely teaspoons",
    "name": "Mira Ampersand Sørensen",
}
#: Personal data and secrets of the customer.
PERSONAL = {
    *PERSON.values(),
    "mira.soerensen",
    "guest.of.altona@example.com",
    "a bell that is out of order",
    *(ADDRESS[field] for field in ("name", "line1", "city")),
}


def lines(program, request_id):
    """The lines of a program's log with this request id."""
    found = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
    return [
        line
        for line in found
        if request_id == line.get("request_id") or request_id in line.get("request_ids", ())
    ]


def events(program, request_id):
    return [line["event"].partition(":")[0] for line in lines(program, request_id)]


def sent(program, request_id):
    """The number of e-mails of a request that were sent, by a program's log."""
    return sum(it["count"] for it in lines(program, request_id) if it["event"] == "sent")


@pytest.fixture(scope="module")
def sink():
    with SmtpSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def settings(mariadb, rabbitmq, sink):
    yield {
        "BOOKSTORE_DATABASE_URL": mariadb.create_database("traces"),
        "BOOKSTORE_BROKER_URL": rabbitmq.create_vhost("traces"),
        "BOOKSTORE_SMTP_URL": sink.url,
    }
    rabbitmq.delete_vhost("traces")


@pytest.fixture(scope="module")
def web(settings):
    program = Web(settings)
    assert program.run("db", "upgrade").returncode == 0
    assert program.run("sample-data").returncode == 0
    with program:
        yield program


def no_person_is_named(*programs):
    return {(it.name, fact) for it in programs for fact in PERSONAL if fact in it.output()} == set()


async def place(url, request_id):
    """Place the order of a guest; returns its URL."""
    async with Shopper(url) as guest:
        (book,) = await some_books(guest, 1)
        await guest.fill_cart({book["id"]: 1})
        body = {
            "shipping_address": ADDRESS,
            "email": "guest.of.altona@example.com",
            "note": "a bell that is out of order",
        }
        headers = {"Idempotency-Key": request_id, "X-Request-ID": request_id}
        return await guest.ask("POST", "orders", body, expect=202, **headers)


async def test_one_id_leads_from_the_click_to_the_email(web, settings, sink):
    with OrderWorkers(settings) as at_orders, EmailWorkers(settings) as at_mail:
        placed = await place(web.url, "click-to-e-mail")
        await asyncio.to_thread(wait_until, lambda: sent(at_mail, "click-to-e-mail") == 2)

        [answered] = lines(web, "click-to-e-mail")
        [processed] = lines(at_orders, "click-to-e-mail")
        assert {*events(at_mail, "click-to-e-mail")} == {"sent"}
        assert no_person_is_named(web, at_orders, at_mail)

    assert [answered[it] for it in ("event", "method", "route", "status")] == [
        "request completed",
        "POST",
        "/api/v1/orders",
        202,
    ]
    assert (processed["event"], processed["task"]) == ("processed", "process_orders")
    assert processed["count"] == len(processed["ids"]) == 1
    assert processed["seconds"] > 0
    assert len([it for it in sink.emails if placed["number"] in it["Subject"]]) == 2


async def test_the_id_survives_lost_messages_and_a_temporary_refusal(
    web, settings, sink, mariadb, rabbitmq
):
    await place(web.url, "outlives")
    rabbitmq.create_vhost("traces")  # The messages of the old one are lost.
    sink.answer = "451 4.3.0 <guest.of.altona@example.com>: later"
    become_due(mariadb)

    with Workers(settings) as workers:
        await asyncio.to_thread(
            wait_until, lambda: events(workers, "outlives").count("deferred") == 2
        )
        sink.answer = "250 2.0.0 OK"
        become_due(mariadb)
        await asyncio.to_thread(wait_until, lambda: sent(workers, "outlives") == 2)

        assert events(workers, "outlives").count("processed") == 1
        emails = [it for it in lines(workers, "outlives") if "smtp_code" in it]
        assert no_person_is_named(web, workers)
    assert [(it["attempt"], it["smtp_code"]) for it in emails] == [(1, 451), (1, 451)]


def become_due(mariadb):
    """Make all tasks due for the relay."""
    with mariadb.connect("traces") as conn, conn.cursor() as cursor:
        cursor.execute("UPDATE tasks SET due_at = NOW(6)")
        conn.commit()


async def test_in_one_process_it_is_the_same():
    with Embedded() as store:
        await place(store.url, "embedded")
        await asyncio.to_thread(wait_until, lambda: sent(store, "embedded") == 2)

        found = events(store, "embedded")
        assert no_person_is_named(store)
    assert {*found} == {"request completed", "sent", "processed"}


async def test_an_account_and_what_goes_wrong_with_it_is_in_no_log(smtp_sink):
    smtp_sink.answer = f"550 5.1.1 <{PERSON['email']}>: nobody here"
    with Embedded({"BOOKSTORE_SMTP_URL": smtp_sink.url}) as store:
        async with Shopper(store.url) as mira:
            await mira.ask("POST", "users", PERSON, expect=201)
            await mira.ask("POST", "users", PERSON, expect=409)
            await mira.ask("POST", "users/me/addresses", ADDRESS, expect=201)
            await mira.ask("POST", "users/me/addresses", {**ADDRESS, "country": "XX"}, expect=422)
            await mira.ask("POST", "session", {**PERSON, "password": "not hers"}, expect=422)
            known = {"email": PERSON["email"], "password": "not hers at all"}
            await mira.ask("POST", "session", known, expect=401)
            await mira.ask("POST", "password-resets", {"email": PERSON["email"]}, expect=202)
            broken = f'{{"email": "{PERSON["email"]}", "name": "{PERSON["name"]}"'
            async with mira.http.post("users", data=broken) as answer:
                assert answer.status in (400, 415)
            headers = {"X-Request-ID": PERSON["email"]}  # No id contains this character.
            await mira.ask("GET", "users/me", **headers)
            await mira.ask("DELETE", "session", expect=204)
        await asyncio.to_thread(wait_until, lambda: store.output().count("refused: ") >= 2)

        assert store.output().count('"request completed"') >= 9
        assert no_person_is_named(store)
