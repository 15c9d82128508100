-- Prefixes that appliances hear, by the BLAKE3 of their lines: one table for all that hear the same. The lines are packed with zstd.
CREATE TABLE route_table (
    digest    BLOB NOT NULL PRIMARY KEY,
    received  INTEGER NOT NULL,
    lines     BLOB NOT NULL
) WITHOUT ROWID;

-- Until when a drain counts as begun that was granted and is not reported yet.
ALTER TABLE appliance ADD COLUMN leaving_until INTEGER NOT NULL DEFAULT 0;

-- Who holds an object.
CREATE INDEX inventory_root ON inventory (root);
