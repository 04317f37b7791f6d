"""Each explanation of why work failed fits the errors that workers really write down."""

import asyncio

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from admin.failure_help import explained
from bookstore.database.tables import book_stock
from bookstore.notifications import smtp
from bookstore.notifications.mime import Mail
from bookstore.tasks.outbox import Row, Task
from tests.factories import NOON, add_book
from tests.servers.process import free_port

LETTER = Mail(
    sender="orders@example.com",
    recipient="mira@example.com",
    message_id="<1@example.com>",
    written_at=NOON,
    content=b"Subject: Your order\r\n\r\nIt is on its way.\r\n",
)


def failed(error, task=Task.PROCESS_ORDERS):
    row = Row(
        id=1, task=task, ref_id=1, due_at=NOON, publish_count=0, attempts=5, error=error,
        dead_at=NOON, request_id=None, created_at=NOON,
    )  # fmt: skip
    return explained(row)


def unsent(error):
    return failed(error, Task.SEND_NOTIFICATIONS)


async def put_off(url, **settings):
    """What is written down about a letter that could not be handed over."""
    mailer = smtp.SmtpMailer(url, **settings) if url.startswith("smtp") else smtp.make_mailer(url)
    try:
        with pytest.raises((smtp.TryLater, smtp.InDoubt)) as caught:
            await mailer.send(LETTER)
    finally:
        await mailer.close()
    return caught.value.answer


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("It took its worker down each time it was tried.", "ended at once"),
        ("IntegrityError: (pymysql.err.IntegrityError) (1452, 'Cannot add')", "breaks a rule"),
        ("DataError: (pymysql.err.DataError) (1264, 'Out of range')", "breaks a rule"),
        ("TimeoutError: ", "did not answer. When they are well again"),
        ("ConnectionResetError: [Errno 104]", "did not answer. When they are well again"),
        ("OperationalError: (2013, 'Lost')", "did not answer. When they are well again"),
        ("KeyError: 'connection'", "A fault in the program."),
        ("OutOfRange: 4", "A fault in the program."),
        ("it was only words", "It failed, and nothing was changed."),
        (None, "It failed, and nothing was changed."),
    ],
)
def test_an_error_is_explained(error, words):
    assert words in failed(error)


def test_a_fault_of_the_program_is_none_of_the_mail_servers():
    assert "A fault in the program." in unsent("KeyError: 'subject'")
    assert "It failed, and nothing was changed." in unsent(None)


async def test_a_row_that_breaks_a_rule_is_explained(conn):
    dune = await add_book(conn, stock=1)

    with pytest.raises(IntegrityError) as caught:
        await conn.execute(insert(book_stock).values(book_id=dune, stock=2))

    assert "bookstore doctor" in failed(f"{type(caught.value).__name__}: {caught.value}")


async def test_a_letter_that_is_put_off_is_tried_again_by_itself(smtp_sink):
    smtp_sink.answer = "451 4.3.0 Later"

    said = await put_off(smtp_sink.url)

    assert "has put the letter off" in unsent(said)


async def test_a_mail_server_that_wants_another_password_is_explained():
    async def refuse(reader, writer):
        writer.write(b"554 5.7.1 Not you\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        said = await put_off(f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    assert said.startswith("554")
    assert "BOOKSTORE_SMTP_URL" in unsent(said)


async def test_a_mail_server_that_does_not_answer_is_explained(smtp_sink):
    away = await put_off(f"smtp://127.0.0.1:{free_port()}")
    smtp_sink.delay_s = 1
    slow = await put_off(smtp_sink.url, deadline_s=0.2)
    smtp_sink.delay_s, smtp_sink.hang_up = 0, True
    broken = await put_off(smtp_sink.url)

    for said in (away, slow, broken):
        assert "The mail server did not answer." in unsent(said), said


async def test_a_folder_that_takes_no_letters_is_explained(tmp_path):
    (tmp_path / "mail").write_text("a file where the folder should be")

    said = await put_off(f"file:{tmp_path}/mail")

    assert "The folder for letters takes none" in unsent(said)
