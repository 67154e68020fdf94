//! The nouns: what an event, a partition, a data file, an export, a dead letter and a price are. Pure data, no I/O.

mod archived_file;
mod data_file;
mod day;
mod dead_letter;
mod digest;
mod export;
mod hold;
mod mapping;
mod object_state;
mod partition;
mod prices;
mod retrieval;
mod schema;
mod seal;
mod shell;
mod storage_class;
mod usd;

pub use archived_file::ArchivedFile;
pub use data_file::{BUNDLES, DataFile, FileName, FileView, KeyRange, PackRef};
pub use day::{date_of_days, date_of_micros, days_of_date, micros_of_timestamp, timestamp_of_micros};
pub use dead_letter::{DeadLetter, Reason, RecordFormat};
pub use digest::{hex, sha256, sha256_bytes, short_digest};
pub use export::{ExportEntry, ExportStamp};
pub use hold::Hold;
pub use mapping::{IdSource, KeySource, Mapping, TimeUnit};
pub use object_state::{ObjectState, RestoreState};
pub use partition::{BadKey, EVENTS, Key, MAX_ENCODED_KEY_BYTES, Partition, folder_value};
pub use prices::{ClassPrices, Prices, RestoreQuote};
pub use retrieval::Retrieval;
pub use schema::{Column, ColumnType, RESERVED_COLUMNS, Schema, is_key_column};
pub use seal::{DateRange, HotRead, Seal, Seals};
pub use shell::shell_word;
pub use storage_class::StorageClass;
pub use usd::{Usd, pays_back_after};
