-- The outbox: notifications that are inserted in an upstream's own transaction, and published by the relay.
--
--   psql "$OUTBOX_URL" -f ops/sql/outbox.sql        it may be run again (PostgreSQL 14 or later)
--
-- The upstream inserts a row into notification_outbox in the same transaction as its own data. If the transaction
-- commits, the notification is sent; if it rolls back, nobody ever sees it. docs/outbox.md describes the columns.
-- Every function finds its tables in the schema into which this file is installed.

BEGIN;

CREATE TABLE IF NOT EXISTS notification_outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- the same request_id is delivered once, however often it is inserted
    request_id   text NOT NULL DEFAULT gen_random_uuid()::text,
    user_id      text,
    title        text,
    message      text,
    type         text NOT NULL DEFAULT 'info',
    priority     text NOT NULL DEFAULT 'medium',
    channel      text NOT NULL DEFAULT 'websocket',
    -- a whole envelope, as POST /notifications takes it, instead of the columns above
    envelope     jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- written by the relay: exactly one of the two, once it has taken the row
    published_at timestamptz,
    failed_at    timestamptz,
    error        text
);

-- What is left to do. It stays small, because published rows are not in it.
CREATE INDEX IF NOT EXISTS notification_outbox_pending ON notification_outbox (id)
    WHERE published_at IS NULL AND failed_at IS NULL;
-- What the relay removes a day after it was published.
CREATE INDEX IF NOT EXISTS notification_outbox_published ON notification_outbox (published_at)
    WHERE published_at IS NOT NULL;

-- Tells whether a relay sleeps and wants to be woken; one row.
CREATE TABLE IF NOT EXISTS relay_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    asleep   boolean NOT NULL DEFAULT false
);
INSERT INTO relay_state DEFAULT VALUES ON CONFLICT DO NOTHING;

-- A NOTIFY makes every transaction that sends one wait for the commit of the one before it, in the whole server. So it
-- is sent only while a relay sleeps; a busy relay finds the rows by itself. The payload is empty, because a long one
-- would fail the upstream's transaction. The upstream's role need not be allowed to read relay_state.
CREATE OR REPLACE FUNCTION notification_outbox_wake() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM relay_state WHERE asleep) THEN
        PERFORM pg_notify('notification_outbox', '');
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER notification_outbox_wake AFTER INSERT ON notification_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION notification_outbox_wake();

-- Copies a row of any table that has the columns id, user_id, title and message into the outbox; type, priority and
-- channel are taken if the table has them. Its request_id is made of the table's name and the row's id.
--
--   CREATE TRIGGER notify AFTER INSERT ON notifications
--       FOR EACH ROW EXECUTE FUNCTION notification_outbox_copy();          -- or ...copy('push') for another channel
CREATE OR REPLACE FUNCTION notification_outbox_copy() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    given jsonb := to_jsonb(NEW);
BEGIN
    INSERT INTO notification_outbox (request_id, user_id, title, message, type, priority, channel)
    VALUES (
        TG_TABLE_NAME || '-' || (given ->> 'id'),
        given ->> 'user_id',
        given ->> 'title',
        given ->> 'message',
        coalesce(given ->> 'type', 'info'),
        coalesce(given ->> 'priority', 'medium'),
        coalesce(TG_ARGV[0], given ->> 'channel', 'websocket')
    );
    RETURN NULL;
END $$;

COMMIT;
