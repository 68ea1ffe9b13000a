//! Whether a record is in the documented form, or must be brought into it first.

use super::{CloudTrailRecord, LenientScalar, UserIdentity};
use crate::time::EventTime;

impl CloudTrailRecord<'_> {
    /// Whether a field may have another type or form than documented, so that the record must be
    /// brought into the documented form first. `true` also for some empty texts.
    pub(crate) fn is_odd(&self) -> bool {
        let parameters = &self.request_parameters;
        // An empty text may stand for an array or object, which the tolerant parse has to look at.
        let scalars = [
            &self.event_version,
            &self.event_source,
            &self.event_name,
            &self.aws_region,
            &self.source_ip_address,
            &self.user_agent,
            &self.error_code,
            &self.error_message,
            &self.event_id,
            &self.shared_event_id,
            &self.recipient_account_id,
            &self.vpc_endpoint_id,
            &self.event_type,
            &parameters.secret_id,
            &parameters.name,
            &parameters.path,
            &parameters.encryption_context.secret_arn,
            &parameters.encryption_context.parameter_arn,
        ];
        let time = self.event_time.get();
        self.user_identity.1
            || self.user_identity.is_odd()
            || parameters.1
            || self.resources.1
            || parameters.secret_id_list.1
            || parameters.names.1
            || parameters.encryption_context.1
            || self.addendum.1
            || scalars.iter().any(|scalar| scalar.is_empty())
            || self.error_code.is_placeholder()
            || matches!(self.error_code.get(), Some("false" | "0" | "0.0"))
            || self.error_message.is_placeholder()
            || self.recipient_account_id.is_number_of_account()
            || time.is_none_or(|time| EventTime::parse(time).is_none())
    }
}

impl UserIdentity<'_> {
    /// Like [`CloudTrailRecord::is_odd`], of the fields below.
    pub(super) fn is_odd(&self) -> bool {
        let kind = self.kind.0.as_deref();
        let is_named = kind.is_none_or(|kind| kind.starts_with(|c: char| c.is_ascii_alphabetic()));
        let is_empty = LenientScalar::is_empty;
        !is_named
            || self.account_id.is_number_of_account()
            || is_empty(&self.arn)
            || is_empty(&self.principal_id)
            || is_empty(&self.account_id)
            || is_empty(&self.user_name)
            || is_empty(&self.invoked_by)
            || self.session_context.1
            || self.session_context.session_issuer.1
            || self.on_behalf_of.1
    }
}
