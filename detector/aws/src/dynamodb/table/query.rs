//! Queries: the items of a partition in a range of sort keys, strongly consistent.

use aws_sdk_dynamodb::operation::query::QueryOutput;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use secretrail_engine::state::StateError;

use super::{AT_ONCE, DynamoTable};
use crate::{
    dynamodb::item::{Attributes, SortKeyRange, text},
    retry::FailedCall,
};

impl DynamoTable {
    /// For each range, the items with sort keys in it, both ends inclusive, strongly consistent.
    pub(in crate::dynamodb) async fn query_all(
        &self,
        ranges: Vec<SortKeyRange>,
    ) -> Result<Vec<Vec<Attributes>>, StateError> {
        stream::iter(ranges)
            .map(|range| self.query(range, usize::MAX))
            // In the order of the ranges: callers iterate over both together.
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    /// The first items of a range; at least `most`, if there are so many.
    pub(in crate::dynamodb) async fn query(
        &self,
        range: SortKeyRange,
        most: usize,
    ) -> Result<Vec<Attributes>, StateError> {
        let mut found = Vec::new();
        let mut start = None;
        loop {
            let page = self.page(&range, most, start).await?;
            found.extend(page.items.unwrap_or_default());
            start = page.last_evaluated_key;
            // An empty page need not be the last: only a missing key to continue from ends the
            // query.
            if start.is_none() || found.len() >= most {
                return Ok(found);
            }
        }
    }

    /// The first items of a range, up to 1 MB of them, and whether these are all.
    pub(in crate::dynamodb) async fn first_page(
        &self,
        range: &SortKeyRange,
    ) -> Result<(Vec<Attributes>, bool), StateError> {
        let page = self.page(range, usize::MAX, None).await?;
        let is_whole = page.last_evaluated_key.is_none();
        Ok((page.items.unwrap_or_default(), is_whole))
    }

    /// Passes on the items of a range, up to 1 MB at a time.
    pub(in crate::dynamodb) async fn pages(
        &self,
        range: &SortKeyRange,
        mut take: impl FnMut(Vec<Attributes>) -> Result<(), StateError> + Send,
    ) -> Result<(), StateError> {
        let mut start = None;
        loop {
            let page = self.page(range, usize::MAX, start).await?;
            take(page.items.unwrap_or_default())?;
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// The next page of a range.
    async fn page(
        &self,
        range: &SortKeyRange,
        most: usize,
        start: Option<Attributes>,
    ) -> Result<QueryOutput, StateError> {
        let mut tries = self.tries();
        loop {
            match self.query_once(range, most, start.clone()).await {
                Ok(page) => return Ok(page),
                Err(why) if why.retry && tries.again() => tries.wait().await,
                Err(why) => return Err(self.failed("Query", &why)),
            }
        }
    }

    async fn query_once(
        &self,
        range: &SortKeyRange,
        most: usize,
        start: Option<Attributes>,
    ) -> Result<QueryOutput, FailedCall> {
        self.called();
        self.client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(&range.pk))
            .expression_attribute_values(":from", text(&range.from))
            .expression_attribute_values(":to", text(&range.to))
            // Without a limit, pages of 1 MB.
            .set_limit(i32::try_from(most).ok())
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(|error| FailedCall::of(&error))
    }
}
