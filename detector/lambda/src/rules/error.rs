//! Errors in loading rules.

use std::path::PathBuf;

use secretrail_aws::s3::FetchError;
use secretrail_engine::{
    geo::GeoFault,
    network::NetworkListFault,
    state::{StateError, item_v1::ItemError},
};
use secretrail_pack::MissingNetworks;

use crate::config::NETWORKS;

/// Why rules, access policy or placeholder values could not be read or are invalid.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// An object, or a listing, could not be read.
    #[error("{place}: {error}")]
    S3 {
        /// Its `s3://…` URL.
        place: String,
        /// The error.
        error: FetchError,
    },
    /// There are no rules under a prefix in S3.
    #[error("{0} holds no rules; Sigma files end in .yml or .yaml")]
    EmptyPrefix(String),
    /// A file of the package could not be read.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The error.
        error: std::io::Error,
    },
    /// There are no rules in a folder of the package.
    #[error("{}: holds no rules; Sigma files end in .yml or .yaml", .0.display())]
    EmptyFolder(PathBuf),
    /// An object that the settings name does not exist.
    #[error("{0} does not exist")]
    Missing(String),
    /// An object is not UTF-8.
    #[error("{0}: is not UTF-8")]
    NotText(String),
    /// The rules are invalid; all their errors.
    #[error("{0}")]
    Rules(String),
    /// The access policy is invalid.
    #[error("access policy: {0}")]
    Policy(String),
    /// The placeholder values are invalid.
    #[error("placeholders: {0}")]
    Vars(String),
    /// A prefix in S3, or a folder of the package, holds no lists of networks.
    #[error("{0} holds no lists of networks; the name of a file is its label: own.txt")]
    NoNetworks(String),
    /// A list of networks is invalid.
    #[error("{place}: {fault}")]
    Networks {
        /// Its `s3://…` URL, or its path in the package.
        place: String,
        /// The error.
        fault: NetworkListFault,
    },
    /// A database of where addresses are registered is none.
    #[error("{place}: {fault}")]
    Geo {
        /// Its place.
        place: String,
        /// What is wrong.
        fault: GeoFault,
    },
    /// A custom rule names a list of networks that the settings do not.
    #[error("{0}; add its file to {setting}", setting = NETWORKS)]
    MissingNetworks(#[from] MissingNetworks),
    /// The table has no stored rules.
    #[error("the table has no stored rules")]
    NoneKept,
    /// The table could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The stored rules are damaged.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// The stored rules, or those to be stored, do not have the format of this version.
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    /// The rules are too large to be stored in the table.
    #[error("the rules have {0} bytes, too many for an item of the table")]
    TooLarge(usize),
    /// The rules that were found are invalid, and the stored ones cannot be used.
    #[error("{found}\nand the last valid rules cannot be used: {kept}")]
    Neither {
        /// Why the rules that were found are invalid.
        found: Box<RulesError>,
        /// Why the stored ones cannot be used.
        kept: Box<RulesError>,
    },
}

impl RulesError {
    /// Whether the same files may be read a minute later: nothing is wrong with them.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::S3 { error: FetchError::Failed(failed), .. } if failed.retry)
    }
}
