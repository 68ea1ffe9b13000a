//! Readers whose public addresses hardly ever repeat, as those of hosted runners.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    access::Access,
    baseline::pairs::{ReadOrigin, usable},
    ids::SharedStr,
    network::NetworkLists,
};

/// Public addresses from which on a reader may be one whose addresses never repeat.
const ADDRESSES: usize = 8;

/// The principals whose public addresses hardly ever repeat, by all of their reads: alerts about
/// new addresses hold back most of those of such a reader.
pub(super) fn roaming(accesses: &[Arc<Access>], networks: &NetworkLists) -> BTreeSet<SharedStr> {
    let mut readers: BTreeMap<SharedStr, (BTreeSet<ReadOrigin>, BTreeSet<i64>)> = BTreeMap::new();
    for access in accesses {
        let Ok((principal, _)) = usable(access) else {
            continue;
        };
        let (origins, days) = readers.entry(principal).or_default();
        days.insert(access.head.time.0.div_euclid(86_400));
        origins.extend(ReadOrigin::of(&access.head.source, networks));
    }
    let roaming = readers
        .into_iter()
        .filter(|(_, (origins, days))| is_roaming(origins.iter(), days.len()));
    roaming.map(|(principal, _)| principal).collect()
}

/// Whether most days have a public address that was not seen before.
pub(super) fn is_roaming<'o>(origins: impl Iterator<Item = &'o ReadOrigin>, days: usize) -> bool {
    let public = origins.filter(|origin| origin.is_public()).count();
    public >= ADDRESSES && public * 4 >= days * 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::pairs::read_by;

    #[test]
    fn who_comes_from_a_new_address_on_most_days_roams() {
        let read = |principal: &str, day: i64, address: i64| {
            let mut access = read_by(principal, "db", day * 86_400);
            let mut head = (*access.head).clone();
            let mut source = (*head.source).clone();
            source.ip = Some(format!("11.0.0.{address}").into());
            head.source = Arc::new(source);
            access.head = Arc::new(head);
            Arc::new(access)
        };
        let mut accesses: Vec<Arc<Access>> = Vec::new();
        for day in 0..10 {
            accesses.push(read("runner", day, day));
            accesses.push(read("office", day, day % 3));
            accesses.push(read("daily", 4 * day, day));
            accesses.extend((0..4).map(|day_of_four| read("daily", 4 * day + day_of_four, 99)));
        }
        assert_eq!(
            roaming(&accesses, NetworkLists::none()),
            BTreeSet::from(["runner".into()])
        );
    }
}
