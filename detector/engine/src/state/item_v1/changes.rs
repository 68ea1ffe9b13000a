//! Changes to the versions of secrets as stores keep them: compressed JSON, version 1.

use serde::{Deserialize, Serialize};

use super::{ItemError, PackedItem, VERSION, read::each, read::known, squeezed, unsqueezed};
use crate::{
    digest::digest,
    exposure::changes::{ChangeFact, SecretName, VersionChange},
    ids::{SecretStore, SharedStr},
    observation::VersionStep,
    time::EventTime,
};

#[derive(Debug, Serialize, Deserialize)]
struct StoredChangesV1 {
    v: u32,
    changes: Vec<StoredChangeV1>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredChangeV1 {
    store: SharedStr,
    account: SharedStr,
    /// Of the name: empty in Secrets Manager.
    home: SharedStr,
    name: SharedStr,
    time: i64,
    event: SharedStr,
    step: VersionStep,
    arn: Option<SharedStr>,
    region: SharedStr,
    by: Option<SharedStr>,
    event_id: SharedStr,
    api: SharedStr,
}

/// Packs changes.
#[must_use]
pub fn pack_changes(changes: &[VersionChange]) -> PackedItem {
    let stored = StoredChangesV1 {
        v: VERSION,
        changes: changes.iter().map(change_v1).collect(),
    };
    // Cannot fail: every key is text.
    let text = serde_json::to_string(&stored).unwrap_or_default();
    PackedItem {
        digest: digest(&[&text]),
        bytes: squeezed(text.as_bytes()),
    }
}

fn change_v1(change: &VersionChange) -> StoredChangeV1 {
    let VersionChange { secret, fact } = change.clone();
    StoredChangeV1 {
        store: secret.store.as_str().into(),
        account: secret.account,
        home: secret.region,
        name: secret.name,
        time: fact.time.0,
        event: fact.event,
        step: fact.step,
        arn: fact.arn,
        region: fact.region,
        by: fact.by,
        event_id: fact.event_id,
        api: fact.api,
    }
}

/// Reads what [`pack_changes`] wrote.
///
/// # Errors
///
/// The item was not written by it.
pub fn unpack_changes(bytes: &[u8]) -> Result<Vec<VersionChange>, ItemError> {
    let stored: StoredChangesV1 = serde_json::from_slice(&unsqueezed(bytes)?)?;
    if stored.v != VERSION {
        return Err(ItemError::Version(stored.v));
    }
    each(stored.changes, |change| {
        Ok(VersionChange {
            secret: SecretName {
                store: known(&SecretStore::ALL, SecretStore::as_str, &change.store)?,
                account: change.account,
                region: change.home,
                name: change.name,
            },
            fact: ChangeFact {
                time: EventTime(change.time),
                event: change.event,
                step: change.step,
                arn: change.arn,
                region: change.region,
                by: change.by,
                event_id: change.event_id,
                api: change.api,
            },
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::contract::version_change;

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let mut named = version_change("b", 20, "v3");
        (named.fact.arn, named.fact.by) = (None, None);
        let changes = [version_change("a", 10, "v2"), named];
        let packed = pack_changes(&changes);
        assert_eq!(unpack_changes(&packed.bytes).unwrap(), changes);
    }

    #[test]
    fn what_is_no_change_is_refused() {
        let refused = unpack_changes(&squeezed(br#"{"v":1}"#)).unwrap_err();
        assert!(matches!(refused, ItemError::Json(_)), "{refused}");
        let later = unpack_changes(&squeezed(br#"{"v":2,"changes":[]}"#)).unwrap_err();
        assert!(matches!(later, ItemError::Version(2)), "{later}");
    }
}
