//! Single writes on a condition.

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use secretrail_engine::state::StateError;

use super::DynamoTable;
use crate::{
    dynamodb::item::{Attributes, ItemKey},
    retry::FailedCall,
};

/// A write of an item that must be new, or must not have changed since it was read.
pub(in crate::dynamodb) struct ConditionalPut<'a> {
    pub(in crate::dynamodb) item: Attributes,
    /// An attribute that changes with the item, and its value when it was read; `None` when there
    /// was no item.
    pub(in crate::dynamodb) version: Option<(&'a str, AttributeValue)>,
}

/// What became of a conditional write.
pub(in crate::dynamodb) enum PutResult {
    /// It was written.
    Written,
    /// Another item is there; `None` when there is none any more.
    Kept(Option<Attributes>),
}

impl DynamoTable {
    /// All tries were used up, and each time another writer had changed the item.
    pub(in crate::dynamodb) fn contended(&self, key: &ItemKey) -> StateError {
        let ItemKey { pk, sk } = key;
        StateError::new(format!(
            "PutItem on table {}: item {pk} {sk} was changed by others in all tries",
            self.name
        ))
    }

    /// Puts an item on a condition. Not written is also what was written by an earlier try whose
    /// response was lost: the item that is there tells.
    pub(in crate::dynamodb) async fn put_if(
        &self,
        put: &ConditionalPut<'_>,
    ) -> Result<PutResult, StateError> {
        let mut tries = self.tries();
        loop {
            match self.put_if_once(put).await {
                Ok(result) => return Ok(result),
                Err(why) if why.retry && tries.again() => tries.wait().await,
                Err(why) => return Err(self.failed("PutItem", &why)),
            }
        }
    }

    async fn put_if_once(&self, put: &ConditionalPut<'_>) -> Result<PutResult, FailedCall> {
        self.called();
        let request = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(put.item.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match put.version {
            None => request.condition_expression("attribute_not_exists(pk)"),
            Some((name, ref value)) => request
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", name)
                .expression_attribute_values(":version", value.clone()),
        };
        let Err(error) = request.send().await else {
            return Ok(PutResult::Written);
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                Ok(PutResult::Kept(failed.item.clone()))
            }
            _ => Err(FailedCall::of(&error)),
        }
    }
}
