//! What the operator asks for: one configuration from four sources.
//!
//! Order: defaults, then the file, then the environment (`KITHARA_CACHE__DIR`), then flags; a
//! later source wins key by key. Files here:
//!
//! - `model`: the configuration as plain structs, with the reason of each default;
//! - `units` (P): `10GiB`, `8KiB/s`, `500ms`;
//! - `setting` (P): how one value is set and shown;
//! - `keys` (P): the one list of keys, and the nearest to a misspelt one;
//! - `merge` (P): the four sources, and where each value came from;
//! - `effective` (P): the result as a file, secrets redacted;
//! - `validate` (P): what must hold between values;
//! - `load`: reads the file and the environment of this process.
#![forbid(unsafe_code)]

mod effective;
mod keys;
mod load;
mod merge;
mod model;
mod setting;
mod units;
mod validate;

pub use effective::{Show, effective};
pub use keys::UNENFORCED;
pub use load::{DEFAULT_FILE, cores, load};
pub use merge::{Error, FILE_VARIABLE, File, Flag, Inputs, Merged, PREFIX, Source};
pub use model::{
    Admin, Cache, Config, Library, Limits, Log, LogFormat, MIN_WRITE_WINDOW, Origin, Policy,
    READ_AHEAD_IN_MEMORY_BYTES, REDACTED, Secret, Shards, Signing,
};
pub use units::{Form, Rate, Size, Time, Unreadable};
pub use validate::{Broken, CACHE_SIZE_MIN_BYTES, SHARD_MEMORY_MIN_BYTES};
