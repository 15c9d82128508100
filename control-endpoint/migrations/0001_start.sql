-- Times are seconds since 1970-01-01 UTC, sizes are bytes, roots and hashes are 32 bytes.

-- One row: the life of this database.
CREATE TABLE endpoint (
    only              INTEGER PRIMARY KEY CHECK (only = 1),
    epoch             INTEGER NOT NULL,
    -- The number of the list of tombstones, and when it last rose.
    tombstones        INTEGER NOT NULL,
    tombstones_at     INTEGER NOT NULL,
    -- Rises with each change that must not wait for build_at; `built_wish` is the last one that a build has seen.
    wish              INTEGER NOT NULL,
    built_wish        INTEGER NOT NULL,
    -- The last number that a manifest was given, of whatever appliance.
    number            INTEGER NOT NULL,
    -- When all manifests were last built, or refused.
    built_at          INTEGER NOT NULL
);

-- Bytes: one row per root.
CREATE TABLE object (
    id          INTEGER PRIMARY KEY,
    root        BLOB NOT NULL UNIQUE,
    size        INTEGER NOT NULL,
    -- The file that holds them, as bytes of the path; `owned`: below state_dir/objects, ours to delete.
    file        BLOB NOT NULL,
    owned       INTEGER NOT NULL,
    mtime_ns    INTEGER NOT NULL,
    -- Group values of the chunk tree; empty for one group.
    tree        BLOB NOT NULL,
    -- Why the file does not hold these bytes any more.
    broken      TEXT
);
CREATE INDEX object_file ON object (file);

-- URL paths that lead to bytes.
CREATE TABLE path (
    path          TEXT NOT NULL PRIMARY KEY,
    object        INTEGER NOT NULL REFERENCES object (id),
    content_type  TEXT NOT NULL,
    cache_control TEXT NOT NULL,
    modified      INTEGER NOT NULL,
    -- Bytes a day expected at `published`; it fades as popularity is measured.
    demand        INTEGER NOT NULL,
    published     INTEGER NOT NULL,
    urgent_until  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX path_object ON path (object);

CREATE TABLE tombstone (
    path  TEXT NOT NULL,
    root  BLOB NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (path, root)
) WITHOUT ROWID;

CREATE TABLE appliance (
    id             TEXT NOT NULL PRIMARY KEY,
    site           TEXT NOT NULL,
    cluster        TEXT NOT NULL,
    token_hash     BLOB NOT NULL UNIQUE,
    registered     INTEGER NOT NULL,
    -- Registered sizes of the tiers; NULL: not said.
    hot_bytes      INTEGER,
    capacity_bytes INTEGER,
    -- JSON list of ids, the nearest first.
    upstreams      TEXT NOT NULL
) WITHOUT ROWID;

-- The last report of each appliance, without its inventory; and the state of the inventory that is known.
CREATE TABLE report (
    appliance  TEXT NOT NULL PRIMARY KEY REFERENCES appliance (id) ON DELETE CASCADE,
    received   INTEGER NOT NULL,
    started    INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    revision   INTEGER,
    body       TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE inventory (
    appliance  TEXT NOT NULL REFERENCES appliance (id) ON DELETE CASCADE,
    root       BLOB NOT NULL,
    PRIMARY KEY (appliance, root)
) WITHOUT ROWID;

-- Bytes served, weighted as `popularity` says.
CREATE TABLE popularity (
    cluster  TEXT NOT NULL,
    root     BLOB NOT NULL,
    weight   REAL NOT NULL,
    PRIMARY KEY (cluster, root)
) WITHOUT ROWID;

-- The newest manifest of each appliance. Its sealed bytes are in state_dir/manifests.
CREATE TABLE manifest (
    appliance  TEXT NOT NULL PRIMARY KEY REFERENCES appliance (id) ON DELETE CASCADE,
    epoch      INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    built_at   INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    objects    INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    -- BLAKE3 of what it says beside number and times.
    content    BLOB NOT NULL
) WITHOUT ROWID;

INSERT INTO endpoint VALUES (1, 1, 0, unixepoch(), 0, 0, 0, 0);
