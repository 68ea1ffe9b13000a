//! Values of fields in the terms of the Sigma engine.

use std::{borrow::Cow, collections::BTreeSet};

use rsigma_eval::EventValue;

use crate::{
    ids::{SecretRef, SharedStr},
    policy::{Expectation, PolicyVerdict},
    seen::{Novelty, SeenVerdicts},
};

pub(super) fn opt(text: Option<&SharedStr>) -> Option<EventValue<'_>> {
    text.and_then(|text| word(text))
}

pub(super) fn word(text: &str) -> Option<EventValue<'_>> {
    Some(EventValue::Str(Cow::Borrowed(text)))
}

pub(super) fn secret_id(secret: &SecretRef) -> Option<EventValue<'static>> {
    let SecretRef {
        store,
        account,
        region,
        name,
        ..
    } = secret;
    let name = name.as_ref()?;
    let id = format!("{}:{account}:{region}:{name}", store.as_str());
    Some(EventValue::Str(id.into()))
}

pub(super) fn list(texts: &BTreeSet<String>) -> Option<EventValue<'static>> {
    let texts = texts.iter().cloned();
    let values: Vec<_> = texts.map(|text| EventValue::Str(text.into())).collect();
    (!values.is_empty()).then_some(EventValue::Array(values))
}

pub(super) fn verdict(
    expected: Option<Expectation>,
    of: fn(&Expectation) -> PolicyVerdict,
) -> Option<EventValue<'static>> {
    expected.and_then(|e| word(of(&e).as_str()))
}

pub(super) fn novelty(
    seen: Option<SeenVerdicts>,
    of: fn(&SeenVerdicts) -> Novelty,
) -> Option<EventValue<'static>> {
    seen.and_then(|s| word(of(&s).as_str()))
}

pub(super) fn yes(value: bool) -> Option<EventValue<'static>> {
    word(if value { "true" } else { "false" })
}
