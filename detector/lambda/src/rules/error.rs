//! Why there are no rules, or no new ones.

use std::path::PathBuf;

use secretrail_aws::s3::FetchError;
use secretrail_engine::state::StateError;
use secretrail_engine::state::item_v1::ItemError;

/// Why rules, or what goes with them, could not be read or understood.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// An object, or a listing, could not be read.
    #[error("{place}: {error}")]
    S3 {
        /// `s3://…` of it.
        place: String,
        /// Why not.
        error: FetchError,
    },
    /// There is nothing in a bucket where rules should be.
    #[error("{0} holds no rules; Sigma files end in .yml or .yaml")]
    EmptyPrefix(String),
    /// A file of the package could not be read.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// There is nothing in a folder of the package where rules should be.
    #[error("{}: holds no rules; Sigma files end in .yml or .yaml", .0.display())]
    EmptyFolder(PathBuf),
    /// An object that the settings name is not in its bucket.
    #[error("{0} is not there")]
    Missing(String),
    /// An object is no text.
    #[error("{0}: is not UTF-8")]
    NotText(String),
    /// The rules do not load; everything that is wrong with them.
    #[error("{0}")]
    Rules(String),
    /// The access policy does not load.
    #[error("access policy: {0}")]
    Policy(String),
    /// The values of placeholders do not load.
    #[error("placeholders: {0}")]
    Vars(String),
    /// The table has kept no rules.
    #[error("the table has none")]
    NoneKept,
    /// The table could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// What the table has kept is damaged.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// What the table has kept, or what it should keep, is not what this version knows.
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    /// They are too large to be kept in the table.
    #[error("they have {0} bytes, more than an item takes")]
    TooLarge(usize),
    /// What was found does not load, and there is nothing else.
    #[error("{found}\nand there are none kept from before: {kept}")]
    Neither {
        /// Why what was found does not load.
        found: Box<RulesError>,
        /// Why what was kept is no help.
        kept: Box<RulesError>,
    },
}
