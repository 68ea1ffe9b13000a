//! The stored form of what the forms of an alert are merged by.

use serde::{Deserialize, Serialize};

use super::{ItemError, StoredActorV1, read::actor, write::actor_v1};
use crate::{
    actor::common::{Common, CommonForm, CommonTraits},
    alert::FormerPlace,
    ids::SharedStr,
    time::EventTime,
};

/// What evidence has in common: for each, nothing without such events, `[key, name, …]` of its
/// forms, or `[]` where they differ.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredCommonV1 {
    principal: StoredSharedV1,
    reader: StoredSharedV1,
    address: StoredSharedV1,
    network: StoredSharedV1,
    secret: StoredSharedV1,
    account: StoredSharedV1,
    region: StoredSharedV1,
}

type StoredSharedV1 = Option<Vec<SharedStr>>;

/// Where an alert was.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredPlaceV1 {
    actor: StoredActorV1,
    time: i64,
}

pub(super) fn common_v1(common: &CommonTraits) -> StoredCommonV1 {
    StoredCommonV1 {
        principal: shared_v1(&common.principal),
        reader: shared_v1(&common.reader),
        address: shared_v1(&common.address),
        network: shared_v1(&common.network),
        secret: shared_v1(&common.secret),
        account: shared_v1(&common.account),
        region: shared_v1(&common.region),
    }
}

fn shared_v1(common: &Common) -> StoredSharedV1 {
    match common {
        Common::NoEvents => None,
        Common::Forms(forms) => {
            let texts = forms.iter().flat_map(|form| [&form.key, &form.name]);
            Some(texts.cloned().collect())
        }
        Common::Differs => Some(Vec::new()),
    }
}

pub(super) fn place_v1(place: &FormerPlace) -> StoredPlaceV1 {
    StoredPlaceV1 {
        actor: actor_v1(&place.actor),
        time: place.time.0,
    }
}

pub(super) fn common(common: StoredCommonV1) -> CommonTraits {
    CommonTraits {
        principal: shared(common.principal),
        reader: shared(common.reader),
        address: shared(common.address),
        network: shared(common.network),
        secret: shared(common.secret),
        account: shared(common.account),
        region: shared(common.region),
    }
}

fn shared(common: StoredSharedV1) -> Common {
    let Some(common) = common else {
        return Common::NoEvents;
    };
    let (forms, _) = common.as_chunks::<2>();
    let forms: Vec<CommonForm> = forms
        .iter()
        .map(|[key, name]| CommonForm {
            key: key.clone(),
            name: name.clone(),
        })
        .collect();
    if forms.is_empty() {
        Common::Differs
    } else {
        Common::Forms(forms)
    }
}

pub(super) fn former_place(place: StoredPlaceV1) -> Result<FormerPlace, ItemError> {
    Ok(FormerPlace {
        actor: actor(place.actor)?,
        time: EventTime(place.time),
    })
}
