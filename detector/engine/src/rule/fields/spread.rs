//! How many values a field takes, by which rules are planned.

/// How many different values a field takes in the logs of an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::rule) enum FieldSpread {
    /// A few dozen at most, like verdicts and outcomes.
    Few,
    /// Thousands that come again and again, like secrets and principals.
    Many,
    /// Values that hardly come again, like ids, times and texts; and what is not known.
    Open,
}

/// Fields with few values, beside those of [`is_verdict`].
const FEW: [&str; 37] = [
    "access.api",
    "access.cross_account",
    "access.method",
    "access.outcome",
    "awsRegion",
    "decrypt.status",
    "errorCode",
    "eventCategory",
    "eventName",
    "eventSource",
    "eventType",
    "eventVersion",
    "managementEvent",
    "principal.account",
    "principal.console",
    "principal.kind",
    "principal.type",
    "principal.via",
    "profile.rotates",
    "readOnly",
    "recipientAccountId",
    "secret.decoy",
    "secret.fresh",
    "secret.rotated",
    "secret.store",
    "secret.version_stage",
    "sessionCredentialFromConsole",
    "source.class",
    "source.country",
    "source.kind",
    "source.lists",
    "source.scope",
    "userIdentity.accountId",
    "userIdentity.invokedBy",
    "userIdentity.sessionContext.ec2RoleDelivery",
    "userIdentity.type",
    "vpcEndpointAccountId",
];

/// Fields with many values, among them those whose values a caller chooses.
const MANY: [&str; 21] = [
    "access.denied_by",
    "client.command",
    "client.family",
    "client.version",
    "decrypt.key_arn",
    "expected.baseline_per_hour",
    "principal.arn",
    "principal.name",
    "secret.account",
    "secret.arn",
    "secret.id",
    "secret.name",
    "secret.region",
    "source.as_org",
    "source.asn",
    "source.ip",
    "source.network",
    "source.user_agent",
    "source.vpc_endpoint",
    "userAgent",
    "vpcEndpointId",
];

/// How many values a field takes. A wrong answer costs time, and changes no result.
pub(in crate::rule) fn spread_of(field: &str) -> FieldSpread {
    if MANY.contains(&field) {
        FieldSpread::Many
    } else if FEW.contains(&field) || is_verdict(field) {
        FieldSpread::Few
    } else {
        FieldSpread::Open
    }
}

/// Whether a field has many values.
pub(in crate::rule) fn is_many(field: &str) -> bool {
    spread_of(field) == FieldSpread::Many
}

fn is_verdict(field: &str) -> bool {
    field.starts_with("seen.") || field.starts_with("expected.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::fields::{DERIVED, is_raw};

    #[test]
    fn every_field_whose_spread_is_known_is_one() {
        for field in FEW.iter().chain(&MANY) {
            let is_derived = DERIVED.iter().any(|derived| derived.name == *field);
            assert!(is_derived || is_raw(field), "{field}");
        }
        for open in [
            "principal.session",
            "actor.arn",
            "errorMessage",
            "eventTime",
            "eventID",
        ] {
            assert_eq!(spread_of(open), FieldSpread::Open, "{open}");
        }
        assert_eq!(spread_of("seen.source"), FieldSpread::Few);
    }
}
