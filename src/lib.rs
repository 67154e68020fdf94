//! `tier` archives events for years, cheaply, and answers SQL over them.
//!
//! ```text
//! exports, Cassandra ─▶ archive ─▶ events/date=/event_type=/tenant_id=/*.parquet      any engine can read these
//!              │           │                        │ lifecycle, by the events' age
//!              │           │                        └▶ _bundles/month=/bucket=/*.parquet   a month's cells as few objects
//!              │           └────▶ _tier/root/<version>.parquet ─▶ _tier/leaf/*.parquet   what exists, one atomic commit
//!              │                              │                    └▶ _tier/pack/*.pack   footers of what may be archived
//!              ▼                              │
//!          days not sealed ─▶ query ◀─────────┘  prune by root, leaf, file, cell, row group, page; never list data
//!                               └── restore ─▶ a readable copy of exactly what a question needs, for a while
//! ```
//!
//! # What always holds
//!
//! - **A commit is one object.** Creating `_tier/root/<version>.parquet` if it is absent makes a run visible, whole;
//!   nothing else does. A killed run leaves files that no root names, and running it again does the rest.
//! - **Every record is accounted for.** `read = accepted + duplicate + dead letter`, for each export, in the report and
//!   in the ledger.
//! - **An event is archived once.** Its identity is (tenant, type, date, event id); the same identity with the same
//!   content is a duplicate, with other content a dead letter.
//! - **An answer is never silently short.** What a query cannot read it names before it reads anything.
//! - **A date is answered by one side or by both, never by neither.** From its seal on it is the archive's; before, hot
//!   tier and archive together, without counting an event twice.
//! - **Nothing is deleted unasked.** Data expires only by a rule that says so, never under a legal hold, and leaves the
//!   catalog first; objects go when no version that may still be read needs them. Rows of the hot tier go only by
//!   `tier hot trim`, each compared with the archive before.
//! - **Memory is bounded** by a setting, however large the input and however many cells it has.
//!
//! # The catalog's format
//!
//! All of it is Parquet and JSON, pinned by golden files in `tests/golden/`.
//!
//! - `_tier/table.json`: the table's id and format version.
//! - `_tier/root/<20-digit version>.parquet`: one row per leaf, with its key ranges (`tenant_min` … `date_max`), time
//!   range, counts of live files, rows and bytes, the leaf's SHA-256, the version that added it, and the positions of
//!   files that are gone. The key-value entry `tier.root` holds a JSON document with everything else:
//!   [`catalog::RootDocument`]. A reader refuses a `format_version` or a `required_features` entry it does not know.
//! - `_tier/leaf/<name>.parquet`: about four thousand data files sorted by tenant, type and date, keys as ranges. Where
//!   each file is `<run>-<number>.parquet` in the folder of its cell these two stand for its path.
//!   `<name>.audit.parquet` beside it holds what only audits need; what a rebuilt catalog does not know is empty there.
//!   A leaf that was merged from others names for each file the version that added it (`added_version`), and the root the
//!   oldest of them (`oldest_version`); a root with such leaves requires the feature `merged-leaves`.
//!   A root whose files were deleted is a stub: the entry `tier.root.expired` names it and what it did.
//! - `_tier/pack/<name>.pack`: for each data file that may be archived its list of cells (Parquet, of bundles) and a
//!   copy of its last bytes, page index and footer; the leaf says where. Beside each cell the list names the files that it
//!   was made of (`replaces`), which only a rebuild reads. See [`data::pack`].
//! - A data file says of itself as JSON in its footer: its keys, its name (`file`), the files that it was merged from
//!   (`replaces`) and those that its parts were compared with (`beside`), under `tier.cell`; a bundle its month and name,
//!   under `tier.bundle`. Only a rebuild reads these, and does without where a file does not say them.
//! - `_tier/restore/<job>.json`: what a restore job asked for, and for which question.
//! - `_tier/ledger/`: older entries of the export ledger; `_tier/dead-letter/`: refused records as NDJSON.
//! - `_tier/lease/`, `_tier/run/`: who runs the nightly job, and how its runs ended, as JSON.
//! - `_tier/vault/`: one JSON record per copy of a data file in a Glacier vault.
//! - `_delta_log/`: the published Delta table, where there is one. It is derived and can be published anew.
//! - `_tier/hint`: where to begin looking for the newest version. It may be old or missing.
//!
//! # The map
//!
//! Lower layers never import higher ones; operations never import each other; `cli` composes them.
//!
//! | layer | what it knows |
//! |---|---|
//! | [`error`], [`clock`], [`progress`], [`context`] | how things go wrong, time and randomness as arguments, the line to the user |
//! | [`model`] | the nouns: events' schema, partitions, data files, mappings, dead letters, storage classes and their prices |
//! | [`store`] | buckets, folders, memory: the only code that talks to a cloud |
//! | [`catalog`] | what exists; the one place where state changes |
//! | [`data`] | bytes to events, events to Parquet |
//! | [`exports`] | files of records: found, opened, read |
//! | [`hot`] | the hot tier: Cassandra |
//! | [`scan`] | a snapshot and a predicate to files and a table |
//! | [`archive`], [`compact`], [`history`], [`inspect`], [`lifecycle`], [`publish`], [`query`], [`rebuild`], [`rehydrate`], [`restore`], [`simulate`], [`status`], [`vacuum`], [`vault`], [`verify`] | operations |
//! | [`cli`] | the only code that talks to people |

// The docs are for those who work on the crate, and are built with its private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod archive;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod compact;
pub mod context;
pub mod data;
pub mod error;
pub mod exports;
pub mod history;
pub mod hot;
pub mod inspect;
pub mod lifecycle;
pub mod model;
pub mod progress;
pub mod publish;
pub mod query;
pub mod rebuild;
pub mod rehydrate;
pub mod restore;
pub mod scan;
pub mod simulate;
pub mod status;
pub mod store;
pub mod vacuum;
pub mod vault;
pub mod verify;
