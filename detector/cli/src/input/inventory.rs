//! Reads S3 Inventory in place of listing: a manifest, and lists of objects in CSV. Sources: Amazon
//! S3 user guide, "Locating your inventory list" and "Amazon S3 Inventory list"; checked 2026-11.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{BufReader, Read},
};

use csv::{ReaderBuilder, StringRecord};
use flate2::read::MultiGzDecoder;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::{
    listing::{FoundLog, ListingEnd, LogListing, ReceiveLog},
    store::{ListedItem, ObjectStore, RemoteObject, StoreError},
};

/// Logs that are held until there are enough of an account and month.
const MOST_HELD: usize = 200_000;

/// Storage classes that cannot be read before a restore.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// Access tiers of Intelligent-Tiering that cannot be read before a restore.
const ARCHIVE_TIERS: [&str; 2] = ["ARCHIVE", "DEEP_ARCHIVE"];

/// The manifest of an inventory.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InventoryManifest {
    source_bucket: String,
    /// ARN of the bucket with the lists.
    destination_bucket: String,
    file_format: String,
    /// Names of the columns.
    file_schema: String,
    files: Vec<InventoryFile>,
}

#[derive(Debug, Deserialize)]
struct InventoryFile {
    key: String,
}

/// An inventory whose lists can be read.
pub struct Inventory {
    source: String,
    destination: String,
    columns: InventoryColumns,
    files: Vec<String>,
}

/// Places of the columns.
#[derive(Debug)]
struct InventoryColumns {
    key: usize,
    size: usize,
    etag: Option<usize>,
    storage_class: Option<usize>,
    tier: Option<usize>,
    is_latest: Option<usize>,
    is_delete_marker: Option<usize>,
}

/// Where a column is.
fn place(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

fn needed(names: &[&str], name: &str) -> Result<usize, StoreError> {
    place(names, name)
        .ok_or_else(|| StoreError::Call(format!("the inventory has no column {name}")))
}

impl InventoryColumns {
    fn of(schema: &str) -> Result<Self, StoreError> {
        let names: Vec<&str> = schema.split(',').map(str::trim).collect();
        // Without it, archived objects would be planned, and each of them refused.
        needed(&names, "StorageClass")?;
        Ok(Self {
            key: needed(&names, "Key")?,
            size: needed(&names, "Size")?,
            etag: place(&names, "ETag"),
            storage_class: place(&names, "StorageClass"),
            tier: place(&names, "IntelligentTieringAccessTier"),
            is_latest: place(&names, "IsLatest"),
            is_delete_marker: place(&names, "IsDeleteMarker"),
        })
    }
}

impl Inventory {
    /// Reads the text of a `manifest.json`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Call`]: it is no inventory, or one in a format that is not read.
    pub fn read(text: &[u8]) -> Result<Self, StoreError> {
        let manifest: InventoryManifest = serde_json::from_slice(text).map_err(|error| {
            StoreError::Call(format!("is not the manifest.json of an inventory: {error}"))
        })?;
        if manifest.file_format != "CSV" {
            let format = manifest.file_format;
            return Err(StoreError::Call(format!(
                "the inventory is in {format}, and only CSV is read; configure one in CSV"
            )));
        }
        let destination = manifest.destination_bucket;
        let destination = destination.rsplit(':').next().unwrap_or_default();
        Ok(Self {
            source: manifest.source_bucket,
            destination: destination.to_owned(),
            columns: InventoryColumns::of(&manifest.file_schema)?,
            files: manifest.files.into_iter().map(|file| file.key).collect(),
        })
    }

    /// The bucket whose objects it lists.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Gives the logs of the selection of a listing, by account and month as far as memory allows.
    ///
    /// # Errors
    ///
    /// [`ListingEnd`]: a list could not be read, or the receiver failed.
    pub fn logs<E>(
        &self,
        store: &dyn ObjectStore,
        listing: &LogListing<'_>,
        receive: &mut ReceiveLog<'_, E>,
    ) -> Result<(), ListingEnd<E>> {
        let mut held = HeldLogs::default();
        for file in &self.files {
            let object = RemoteObject {
                bucket: self.destination.clone(),
                key: file.clone(),
                etag: String::new(),
                size: 0,
            };
            let fetched = store.fetch(&object).map_err(ListingEnd::Store)?;
            let list = MultiGzDecoder::new(fetched.bytes.as_slice());
            let mut rows = self.rows(list, file);
            while let Some(row) = rows.next().transpose().map_err(ListingEnd::Store)? {
                for log in row
                    .into_iter()
                    .flat_map(|listed| listing.logs(vec![listed]))
                {
                    held.add(log, receive).map_err(ListingEnd::Receiver)?;
                }
            }
        }
        held.give_all(receive).map_err(ListingEnd::Receiver)
    }

    /// The rows of a list; `None` for those that are no current objects.
    fn rows<'r>(
        &'r self,
        list: impl Read + 'r,
        file: &'r str,
    ) -> impl Iterator<Item = Result<Option<ListedItem>, StoreError>> + 'r {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .from_reader(BufReader::new(list));
        reader.into_records().map(move |row| {
            let row = row.map_err(|error| StoreError::Call(format!("{file}: {error}")))?;
            self.item(&row)
                .map_err(|why| StoreError::Call(format!("{file}: {why}")))
        })
    }

    fn item(&self, row: &StringRecord) -> Result<Option<ListedItem>, String> {
        let columns = &self.columns;
        let of = |column: Option<usize>| column.and_then(|column| row.get(column));
        if of(columns.is_latest) == Some("false") || of(columns.is_delete_marker) == Some("true") {
            return Ok(None);
        }
        let key = row.get(columns.key).ok_or("a row has no key")?;
        let size = row.get(columns.size).unwrap_or_default();
        let class = of(columns.storage_class).filter(|class| ARCHIVES.contains(class));
        let tier = of(columns.tier).filter(|tier| ARCHIVE_TIERS.contains(tier));
        Ok(Some(ListedItem {
            item: RemoteObject {
                bucket: self.source.clone(),
                key: decoded(key)?,
                etag: of(columns.etag).unwrap_or_default().to_owned(),
                size: size
                    .parse()
                    .map_err(|error| format!("{size} is no size: {error}"))?,
            },
            archived: class.or(tier).map(str::to_owned),
        }))
    }
}

/// Logs by account and month, since lists are in no order.
#[derive(Default)]
struct HeldLogs {
    groups: BTreeMap<(String, i32), Vec<FoundLog>>,
    held: usize,
}

impl HeldLogs {
    fn add<E>(&mut self, log: FoundLog, receive: &mut ReceiveLog<'_, E>) -> Result<(), E> {
        let place = (log.account().to_owned(), log.month);
        self.groups.entry(place).or_default().push(log);
        self.held += 1;
        if self.held < MOST_HELD {
            return Ok(());
        }
        // The largest: the batches of the others would be small.
        let largest = self.groups.iter().max_by_key(|(_, logs)| logs.len());
        let largest = largest.map(|(place, _)| place.clone());
        largest.map_or(Ok(()), |place| self.give(&place, receive))
    }

    fn give<E>(&mut self, place: &(String, i32), receive: &mut ReceiveLog<'_, E>) -> Result<(), E> {
        let mut logs = self.groups.remove(place).unwrap_or_default();
        self.held -= logs.len();
        logs.sort_by(|a, b| a.listed.item.key.cmp(&b.listed.item.key));
        logs.into_iter().try_for_each(|log| receive(&place.0, log))
    }

    fn give_all<E>(mut self, receive: &mut ReceiveLog<'_, E>) -> Result<(), E> {
        let places: Vec<_> = self.groups.keys().cloned().collect();
        places
            .iter()
            .try_for_each(|place| self.give(place, receive))
    }
}

/// A key as it is: lists have them URL-encoded.
fn decoded(key: &str) -> Result<String, String> {
    let mut escapes = key
        .as_bytes()
        .windows(3)
        .filter(|three| three.starts_with(b"%"));
    if !escapes.all(|escape| escape.iter().skip(1).all(u8::is_ascii_hexdigit)) {
        return Err(format!("{key} is not URL-encoded"));
    }
    // In this order: a plus in the key itself is written %2B.
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(Cow::into_owned)
        .map_err(|error| format!("{key}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use secretrail_engine::selection::Selection;
    use serde_json::json;

    use super::*;
    use crate::input::store::MemoryStore;

    const SCHEMA: &str =
        "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag, StorageClass";

    fn manifest(format: &str, schema: &str) -> Vec<u8> {
        let manifest = json!({
            "sourceBucket": "logs", "destinationBucket": "arn:aws:s3:::lists", "version": "2016-11-30",
            "creationTimestamp": "1514944800000", "fileFormat": format, "fileSchema": schema,
            "files": [{"key": "data/1.csv.gz", "size": 1, "MD5checksum": "x"},
                {"key": "data/2.csv.gz", "size": 1, "MD5checksum": "y"}],
        });
        manifest.to_string().into_bytes()
    }

    fn key(account: u64, month: u32, file: u32) -> String {
        let account = format!("{:012}", 111_122_223_333 + account);
        format!(
            "AWSLogs/{account}/CloudTrail/eu-west-1/2026/{month:02}/03/\
             {account}_CloudTrail_eu-west-1_2026{month:02}03T1000Z_{file}.json.gz"
        )
    }

    fn put(store: &MemoryStore, list: &str, rows: &[String]) {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(rows.join("\n").as_bytes()).unwrap();
        store.put("lists", list, gzip.finish().unwrap()).unwrap();
    }

    fn row(key: &str, state: &str, class: &str) -> String {
        format!(r#""logs","{key}","v1",{state},"100","e1","{class}""#)
    }

    /// Account, key and archive of what an inventory gives.
    fn logs(store: &MemoryStore, selection: &Selection) -> Vec<(String, String, Option<String>)> {
        let inventory = Inventory::read(&manifest("CSV", SCHEMA)).unwrap();
        let listing = LogListing::new(store, inventory.source(), selection);
        let mut found = Vec::new();
        let end = inventory.logs::<()>(store, &listing, &mut |account, log| {
            let ListedItem { item, archived } = log.listed;
            assert_eq!(
                (item.bucket.as_str(), item.size, item.etag.as_str()),
                ("logs", 100, "e1")
            );
            found.push((account.to_owned(), item.key, archived));
            Ok(())
        });
        end.unwrap_or_else(|_| panic!("it could not be read"));
        found
    }

    #[test]
    fn current_objects_of_the_selection_come_by_account_and_month() {
        let store = MemoryStore::default();
        let now = r#""true","false""#;
        let encoded = key(1, 4, 1).replace('/', "%2F");
        put(
            &store,
            "data/1.csv.gz",
            &[
                row(&key(1, 3, 2), now, "STANDARD"),
                row(&key(0, 4, 1), now, "GLACIER"),
                row(&key(1, 3, 1), r#""false","false""#, "STANDARD"),
                row(&encoded, now, "STANDARD_IA"),
            ],
        );
        put(
            &store,
            "data/2.csv.gz",
            &[
                row(&key(0, 3, 1), now, "STANDARD"),
                row(&key(1, 3, 1), now, "STANDARD"),
                row(&key(1, 3, 3), r#""true","true""#, ""),
                row(
                    "AWSLogs/111122223333/Config/eu-west-1/c.json.gz",
                    now,
                    "STANDARD",
                ),
            ],
        );
        let found = logs(&store, &Selection::default());
        let keys: Vec<&str> = found.iter().map(|(_, key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            [
                key(0, 3, 1),
                key(0, 4, 1),
                key(1, 3, 1),
                key(1, 3, 2),
                key(1, 4, 1)
            ]
        );
        assert_eq!(found[0].0, "111122223333");
        assert_eq!(found[1].2.as_deref(), Some("GLACIER"));
        let only = Selection {
            accounts: vec!["111122223334".to_owned()],
            ..Selection::default()
        };
        assert_eq!(logs(&store, &only).len(), 3);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let why = |text: &[u8]| Inventory::read(text).err().unwrap().to_string();
        let orc = why(&manifest("ORC", SCHEMA));
        assert!(orc.contains("is in ORC, and only CSV is read"), "{orc}");
        let short = why(&manifest("CSV", "Bucket, Key, Size"));
        assert_eq!(short, "the inventory has no column StorageClass");
        assert!(why(b"{}").starts_with("is not the manifest.json of an inventory"));
        assert_eq!(decoded("a+b%2Bc%c3%a9").unwrap(), "a b+cé");
        assert!(decoded("%zz").is_err() && decoded("%ff").is_err());
        let store = MemoryStore::default();
        let inventory = Inventory::read(&manifest("CSV", SCHEMA)).unwrap();
        let selection = Selection::default();
        let listing = LogListing::new(&store, "logs", &selection);
        let missing = inventory.logs::<()>(&store, &listing, &mut |_, _| Ok(()));
        assert!(matches!(missing, Err(ListingEnd::Store(_))));
    }

    #[test]
    fn what_is_held_is_limited() {
        let (mut held, mut given) = (HeldLogs::default(), 0_usize);
        for number in 0..MOST_HELD + 10 {
            let account = u64::try_from(number % 3).unwrap();
            let item = RemoteObject {
                bucket: "logs".to_owned(),
                key: key(account, 3, u32::try_from(number).unwrap()),
                etag: String::new(),
                size: 1,
            };
            let added = held.add::<()>(FoundLog::new(item), &mut |_, _| {
                given += 1;
                Ok(())
            });
            added.unwrap();
            assert!(held.held < MOST_HELD);
        }
        assert!(given > MOST_HELD / 4, "{given}");
    }
}
