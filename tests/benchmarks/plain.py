"""The plain actor: dramatiq with one order per message and per transaction.

It follows the manuals of dramatiq and SQLAlchemy and writes the same rows as the store.
`dramatiq tests.benchmarks.plain -Q plain` processes what `python -m tests.benchmarks.plain` sent.
"""

import os
from datetime import UTC, datetime, timedelta

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from sqlalchemy import create_engine, delete, insert, make_url, select, update

from bookstore import pricing
from bookstore.database.tables import (
    book_stock,
    notifications,
    order_events,
    order_lines,
    orders,
    stock_movements,
    tasks,
)

dramatiq.set_broker(RabbitmqBroker(url=os.environ["BOOKSTORE_BROKER_URL"]))

engine = create_engine(
    make_url(os.environ["BOOKSTORE_DATABASE_URL"]).set(drivername="mysql+pymysql"),
    pool_size=16,
    isolation_level="READ COMMITTED",
)


@dramatiq.actor(queue_name="plain_emails")
def send_email(notification_id: int) -> None:
    """E-mails are not sent in this benchmark."""


@dramatiq.actor(queue_name="plain")
def process_order(order_id: int) -> None:
    """Confirm one order; the stock of this benchmark is sufficient for all orders."""
    now = datetime.now(UTC)
    with engine.begin() as conn:
        order = conn.execute(
            select(orders)
            .where(orders.c.id == order_id, orders.c.status == "placed")
            .with_for_update()
        ).one_or_none()
        if order is None:
            return
        lines = conn.execute(
            select(order_lines)
            .where(order_lines.c.order_id == order_id)
            .order_by(order_lines.c.book_id)
        ).all()
        total_cents = pricing.totals(
            [(line.quantity, line.unit_price_cents) for line in lines], pricing.Rates(**order.terms)
        ).total_cents
        conn.execute(
            insert(stock_movements),
            [
                {
                    "book_id": line.book_id,
                    "delta": -line.quantity,
                    "reason": "sold",
                    "order_id": order_id,
                    "created_at": now,
                }
                for line in lines
            ],
        )
        conn.execute(
            update(orders)
            .where(orders.c.id == order_id)
            .values(
                status="confirmed",
                total_cents=total_cents,
                last_seq=order.last_seq + 1,
                updated_at=now,
            )
        )
        conn.execute(
            insert(order_events).values(
                order_id=order_id,
                seq=order.last_seq + 1,
                kind="confirmed",
                at=now,
                actor="store",
                attempt=1,
                worker="plain",
            )
        )
        message = conn.execute(
            insert(notifications).values(
                order_id=order_id,
                user_id=order.user_id,
                kind="order-confirmed",
                recipient=order.email,
                status="queued",
                in_doubt=False,
                attempts=0,
                created_at=now,
            )
        ).lastrowid
        conn.execute(
            insert(tasks).values(
                task="send_notifications",
                ref_id=message,
                due_at=now + timedelta(seconds=30),
                publish_count=0,
                attempts=0,
                created_at=now,
            )
        )
        conn.execute(
            delete(tasks).where(tasks.c.task == "process_orders", tasks.c.ref_id == order_id)
        )
        for line in lines:
            conn.execute(
                update(book_stock)
                .where(book_stock.c.book_id == line.book_id, book_stock.c.stock >= line.quantity)
                .values(stock=book_stock.c.stock - line.quantity)
            )
    send_email.send(message)


if __name__ == "__main__":
    with engine.connect() as placed:
        for waiting in placed.execute(select(orders.c.id).order_by(orders.c.id)).scalars().all():
            process_order.send(waiting)
