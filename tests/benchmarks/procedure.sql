-- What fulfilment.process does for a list, done for one order by the database itself: one
-- trip, one transaction, the same rows.  The stock is reduced last, as there; with
-- `stock_first` the single rows of stock are locked first, as one would write it plainly.
-- It does not count the attempt, which costs our actors a transaction of its own per list.

CREATE PROCEDURE process_order(this_order BIGINT, stock_first BOOLEAN)
BEGIN
  DECLARE this_user BIGINT;
  DECLARE this_email VARCHAR(254);
  DECLARE this_terms TEXT;
  DECLARE this_seq, lines_wanted, lines_short, lines_taken, subtotal, total INT;
  DECLARE moment, placed DATETIME(6);
  DECLARE outcome VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
  DECLARE why TEXT;
  DECLARE done BOOLEAN DEFAULT FALSE;

  WHILE NOT done DO
    BEGIN
      -- A deadlock, or too long a wait: the whole transaction once more.
      DECLARE EXIT HANDLER FOR 1213, 1205 ROLLBACK;
      SET moment = UTC_TIMESTAMP(6), outcome = 'confirmed', why = NULL, lines_taken = NULL;
      START TRANSACTION;

      DELETE FROM tasks
        WHERE task = 'process_orders' AND ref_id = this_order AND dead_at IS NULL;

      SELECT user_id, email, terms, last_seq, placed_at
        INTO this_user, this_email, this_terms, this_seq, placed
        FROM orders WHERE id = this_order AND status = 'placed' FOR UPDATE;

      IF stock_first THEN
        UPDATE order_lines AS l STRAIGHT_JOIN book_stock AS s ON s.book_id = l.book_id
          SET s.stock = s.stock - l.quantity
          WHERE l.order_id = this_order AND s.stock >= l.quantity;
        SET lines_taken = ROW_COUNT();
      END IF;

      SELECT COUNT(*), SUM(l.quantity * l.unit_price_cents), SUM(s.stock < l.quantity)
        INTO lines_wanted, subtotal, lines_short
        FROM order_lines AS l STRAIGHT_JOIN book_stock AS s ON s.book_id = l.book_id
        WHERE l.order_id = this_order;

      SET total = subtotal + IF(subtotal >= JSON_VALUE(this_terms, '$.free_shipping_from_cents'),
        0, JSON_VALUE(this_terms, '$.shipping_cents'));

      IF stock_first OR lines_short = 0 THEN
        INSERT INTO stock_movements (book_id, delta, reason, order_id, created_at)
          SELECT book_id, -quantity, 'sold', order_id, moment
          FROM order_lines WHERE order_id = this_order;
      ELSE
        SELECT 'rejected', GROUP_CONCAT(CONCAT(l.title, ': ', s.stock, ' left') SEPARATOR '; ')
          INTO outcome, why
          FROM order_lines AS l STRAIGHT_JOIN book_stock AS s ON s.book_id = l.book_id
          WHERE l.order_id = this_order AND s.stock < l.quantity;
      END IF;

      UPDATE orders SET status = outcome, reason = why, total_cents = total,
          last_seq = this_seq + 1, updated_at = moment
        WHERE id = this_order;

      INSERT INTO order_events (order_id, seq, kind, at, actor, detail, message_id, attempt,
          worker, waited_ms, worked_ms)
        VALUES (this_order, this_seq + 1, outcome, moment, 'store', why,
          '5e1f6c0e-4a43-4a0e-8a43-0b0c1d2e3f40', 1, 'procedure',
          TIMESTAMPDIFF(MICROSECOND, placed, moment) DIV 1000,
          TIMESTAMPDIFF(MICROSECOND, moment, UTC_TIMESTAMP(6)) DIV 1000);

      INSERT INTO notifications (order_id, kind, user_id, recipient, status, in_doubt, attempts,
          created_at)
        VALUES (this_order, CONCAT('order-', outcome), this_user, this_email, 'queued', 0, 0,
          moment);

      INSERT INTO tasks (task, ref_id, due_at, publish_count, attempts, created_at)
        VALUES ('send_notifications', LAST_INSERT_ID(), moment + INTERVAL 30 SECOND, 0, 0, moment);

      IF lines_taken IS NULL AND why IS NULL THEN
        UPDATE order_lines AS l STRAIGHT_JOIN book_stock AS s ON s.book_id = l.book_id
          SET s.stock = s.stock - l.quantity
          WHERE l.order_id = this_order AND s.stock >= l.quantity;
        SET lines_taken = ROW_COUNT();
      END IF;

      IF why IS NOT NULL OR lines_taken = lines_wanted THEN
        COMMIT;
        SET done = TRUE;
      ELSE
        ROLLBACK;
      END IF;
    END;
  END WHILE;
END
