"""The explanations of failed tasks match the errors that workers record."""

import asyncio

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from admin.failure_help import explain
from bookstore.database.tables import book_stock
from bookstore.notifications import smtp
from bookstore.notifications.mime import OutgoingEmail
from bookstore.tasks.outbox import Task, TaskRow
from tests.factories import NOON, add_book
from tests.servers.process import free_port

EMAIL = OutgoingEmail(
    sender="orders@example.com",
    recipient="mira@example.com",
    message_id="<1@example.com>",
    written_at=NOON,
    content=b"Subject: Your order\r\n\r\nIt is on its way.\r\n",
)


def explain_error(error, task=Task.PROCESS_ORDERS):
    row = TaskRow(
        id=1, task=task, ref_id=1, due_at=NOON, publish_count=0, attempts=5, error=error,
        dead_at=NOON, request_id=None, created_at=NOON,
    )  # fmt: skip
    return explain(row)


def explain_email_error(error):
    return explain_error(error, Task.SEND_NOTIFICATIONS)


async def delivery_error(url, **settings):
    """The recorded error of an e-mail that could not be delivered."""
    mailer = smtp.SmtpMailer(url, **settings) if url.startswith("smtp") else smtp.make_mailer(url)
    try:
        with pytest.raises((smtp.TryLater, smtp.InDoubt)) as caught:
            await mailer.send(EMAIL)
    finally:
        await mailer.close()
    return caught.value.answer


@pytest.mark.parametrize(
    ("error", "explanation"),
    [
        ("The worker process died during every attempt.", "crashed"),
        (
            "IntegrityError: (pymysql.err.IntegrityError) (1452, 'Cannot add')",
            "violates a constraint",
        ),
        ("DataError: (pymysql.err.DataError) (1264, 'Out of range')", "violates a constraint"),
        ("TimeoutError: ", "did not respond. Retry the task when"),
        ("ConnectionResetError: [Errno 104]", "did not respond. Retry the task when"),
        ("OperationalError: (2013, 'Lost')", "did not respond. Retry the task when"),
        ("KeyError: 'connection'", "A program error."),
        ("OutOfRange: 4", "A program error."),
        ("a text without an error type", "The task failed and nothing was changed."),
        (None, "The task failed and nothing was changed."),
    ],
)
def test_an_error_is_explained(error, explanation):
    assert explanation in explain_error(error)


def test_a_program_error_is_not_explained_as_a_mail_server_error():
    assert "A program error." in explain_email_error("KeyError: 'subject'")
    assert "The task failed and nothing was changed." in explain_email_error(None)


async def test_a_constraint_violation_is_explained(conn):
    dune = await add_book(conn, stock=1)

    with pytest.raises(IntegrityError) as caught:
        await conn.execute(insert(book_stock).values(book_id=dune, stock=2))

    assert "bookstore doctor" in explain_error(f"{type(caught.value).__name__}: {caught.value}")


async def test_a_deferred_email_is_retried_automatically(smtp_sink):
    smtp_sink.answer = "451 4.3.0 Later"

    error = await delivery_error(smtp_sink.url)

    assert "deferred the e-mail" in explain_email_error(error)


async def test_a_mail_server_that_rejects_the_connection_is_explained():
    async def refuse(reader, writer):
        writer.write(b"554 5.7.1 Not you\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        error = await delivery_error(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    assert error.startswith("554")
    assert "BOOKSTORE_SMTP_URL" in explain_email_error(error)


async def test_a_mail_server_that_does_not_respond_is_explained(smtp_sink):
    unreachable = await delivery_error(f"smtp://127.0.0.1:{free_port()}")
    smtp_sink.delay_s = 1
    slow = await delivery_error(smtp_sink.url, deadline_s=0.2)
    smtp_sink.delay_s, smtp_sink.hang_up = 0, True
    disconnected = await delivery_error(smtp_sink.url)

    for error in (unreachable, slow, disconnected):
        assert "The mail server did not respond." in explain_email_error(error), error


async def test_an_email_folder_that_is_not_writable_is_explained(tmp_path):
    (tmp_path / "mail").write_text("a file where the folder should be")

    error = await delivery_error(f"file:{tmp_path}/mail")

    assert "could not be written to its folder" in explain_email_error(error)
