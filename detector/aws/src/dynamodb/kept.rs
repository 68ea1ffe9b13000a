//! Named data of the front end. It does not expire: a function that starts after a long pause finds
//! it.

use std::collections::HashMap;

use secretrail_engine::state::StateError;

use super::{
    item::{CONTENT, bytes, bytes_of},
    keys,
    table::DynamoTable,
};

pub(super) async fn keep(
    table: &DynamoTable,
    name: &str,
    content: Vec<u8>,
) -> Result<(), StateError> {
    let item = HashMap::from([(CONTENT.to_owned(), bytes(content))]);
    table.put(vec![(keys::kept(name), item)]).await
}

pub(super) async fn kept(table: &DynamoTable, name: &str) -> Result<Option<Vec<u8>>, StateError> {
    let key = keys::kept(name);
    let items = table.get(vec![key.clone()], None).await?;
    Ok(items
        .get(&key)
        .and_then(|item| bytes_of(item, CONTENT))
        .map(<[u8]>::to_vec))
}
