//! Pairs of principal and secret to grants: siblings become a pattern where enough of them were seen together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{ENOUGH_READS, Grant, Origin, Pair, Pairs, Target};
use crate::ids::{Arn, Store, Text};
use crate::time::EventTime;

/// Siblings that must have been seen before a pattern stands for the rest of them.
const SIBLINGS: usize = 3;
/// Keys that are listed one by one; of more than these, the account's keys are granted.
const LISTED_KEYS: usize = 3;

/// Groups of roles that must follow a naming convention before it stands for those of which little was seen.
const CONVENTION_GROUPS: usize = 10;

/// Principals whose pairs make one grant, and the pattern for them.
struct Group<'p> {
    patterns: Vec<String>,
    folded: bool,
    /// The folder of the group by convention.
    folder: Option<String>,
    pairs: Vec<(&'p Text, &'p Target, &'p Pair)>,
}

/// That roles `a-b-…` read `a/b/…`, if the history shows it: at least ten such groups, and four roles of five.
#[derive(Default)]
struct Convention {
    /// Names of roles without their last part, with their folders.
    folders: BTreeMap<String, String>,
    /// Stores in which it is followed.
    stores: BTreeSet<Store>,
    /// Whether four of five such groups with enough reads read in several regions.
    everywhere: bool,
}

/// The secrets of one account and store.
type Place<'p> = (&'p Text, &'p Text, Store);

/// One grant for each group of principals and each account that they read from.
pub(super) fn grants(pairs: &Pairs) -> Vec<Grant> {
    let mut known: BTreeMap<Place<'_>, BTreeSet<&str>> = BTreeMap::new();
    let mut regions: BTreeMap<&Text, BTreeSet<&Text>> = BTreeMap::new();
    for (target, pair) in pairs.values().flatten() {
        known
            .entry((&target.partition, &target.account, target.store))
            .or_default()
            .insert(&target.name);
        regions
            .entry(&target.account)
            .or_default()
            .extend(&pair.regions);
    }
    let convention = Convention::of(pairs);
    let mut grants = Vec::new();
    for group in groups(pairs, &convention) {
        let accounts: BTreeSet<(&Text, &Text)> = group
            .pairs
            .iter()
            .map(|(_, t, _)| (&t.partition, &t.account))
            .collect();
        for account in accounts {
            grants.extend(grant(&group, account, &known, &regions, &convention));
        }
    }
    grants.sort_by(|a, b| (&a.principals, &a.secrets).cmp(&(&b.principals, &b.secrets)));
    grants
}

fn grant(
    group: &Group<'_>,
    (partition, account): (&Text, &Text),
    known: &BTreeMap<Place<'_>, BTreeSet<&str>>,
    regions: &BTreeMap<&Text, BTreeSet<&Text>>,
    convention: &Convention,
) -> Option<Grant> {
    let here = || {
        group
            .pairs
            .iter()
            .filter(|(_, t, _)| (&t.partition, &t.account) == (partition, account))
    };
    let all = || here().map(|(_, _, pair)| *pair);
    let patterns = match &group.folder {
        Some(folder) => convention
            .stores
            .iter()
            .map(|store| (*store, format!("{folder}/*")))
            .collect(),
        None => patterns(
            here().map(|(_, target, _)| *target),
            (partition, account),
            group.folded,
            known,
        ),
    };
    let folded_secrets = patterns.iter().any(|(_, pattern)| pattern.ends_with('*'));
    let secrets = patterns.into_iter().map(|(store, pattern)| match store {
        Store::SecretsManager => {
            format!("arn:{partition}:secretsmanager:*:{account}:secret:{pattern}")
        }
        // A parameter at the root has no slash in its name, and one in its ARN.
        Store::Ssm => format!(
            "arn:{partition}:ssm:*:{account}:parameter/{}",
            pattern.trim_start_matches('/')
        ),
    });
    let reads = all().map(|p| p.reads).sum();
    let seen_regions: BTreeSet<&Text> = all().flat_map(|p| &p.regions).collect();
    // Who reads in several regions will read in the account's others too.
    let wide = seen_regions.len() > 1 || (group.folder.is_some() && convention.everywhere);
    let regions = if wide {
        regions.get(account).unwrap_or(&seen_regions)
    } else {
        &seen_regions
    };
    let principals: BTreeSet<&Text> = here().map(|(principal, ..)| *principal).collect();
    let enough = reads >= ENOUGH_READS;
    let nets = if enough {
        networks(all().flat_map(|p| &p.sources))
    } else {
        Vec::new()
    };
    // Siblings that were not seen yet may have networks of their own, unless all that were seen share one.
    let told = !group.folded || nets.len() == 1;
    let days: BTreeSet<&i64> = all().flat_map(|p| &p.days).collect();
    Some(Grant {
        principals: group.patterns.clone(),
        secrets: secrets.collect(),
        regions: regions.iter().map(ToString::to_string).collect(),
        sources: if told { nets } else { Vec::new() },
        keys: if enough {
            keys(all().flat_map(|p| &p.keys).collect(), folded_secrets)
        } else {
            Vec::new()
        },
        usual_per_hour: all().map(Pair::usual_per_hour).max()?,
        reads,
        days: days.len(),
        last: all().filter_map(|p| p.last).max().unwrap_or(EventTime(0)),
        doubts: Vec::new(),
        seen_principals: principals.len(),
        seen_secrets: here()
            .map(|(_, t, _)| (t.store, &t.name))
            .collect::<BTreeSet<_>>()
            .len(),
    })
}

impl Convention {
    fn of(pairs: &Pairs) -> Self {
        let mut found = Self::default();
        let (mut following, mut roles) = (0, 0);
        let mut groups: BTreeMap<(&Text, &str), (u64, BTreeSet<&Text>)> = BTreeMap::new();
        for (principal, targets) in pairs {
            let Some(stem) = stem_name(principal) else {
                continue;
            };
            roles += 1;
            let Some(folder) = folder_of(stem, targets.keys()) else {
                continue;
            };
            following += 1;
            found.folders.insert(stem.to_owned(), folder.to_owned());
            found.stores.extend(targets.keys().map(|t| t.store));
            for (target, pair) in targets {
                let (reads, regions) = groups.entry((&target.account, stem)).or_default();
                *reads += pair.reads;
                regions.extend(&pair.regions);
            }
        }
        if found.folders.len() < CONVENTION_GROUPS || following * 5 < roles * 4 {
            return Self::default();
        }
        let known = || groups.values().filter(|(reads, _)| *reads >= ENOUGH_READS);
        let several = known().filter(|(_, regions)| regions.len() > 1).count();
        found.everywhere = several > 0 && several * 5 >= known().count() * 4;
        found
    }

    /// The folder of roles that all follow the convention.
    fn folder(&self, principals: &[&Text], pairs: &Pairs) -> Option<String> {
        let stem = stem_name(principals.first()?)?;
        let follows = |p: &&Text| {
            pairs
                .get(*p)
                .is_some_and(|targets| folder_of(stem, targets.keys()).is_some())
        };
        self.folders
            .get(stem)
            .filter(|_| principals.iter().all(follows))
            .cloned()
    }
}

/// The folder that all targets lie in, if it is called as the roles are: `prod/payments` for `prod-payments`.
fn folder_of<'t>(stem: &str, targets: impl Iterator<Item = &'t Target>) -> Option<&'t str> {
    let mut folder = None;
    for target in targets {
        let path = target.name.trim_start_matches('/');
        // What is read by path is the folder itself.
        let mine = [path.trim_end_matches('/'), topic(&target.name)];
        folder = Some(
            mine.into_iter()
                .find(|f| f.contains('/') && is_called(f, stem))?,
        );
    }
    folder
}

/// Whether a folder is called as roles are: `prod/payments` and `prod-payments`.
fn is_called(folder: &str, stem: &str) -> bool {
    folder.replace('/', "-") == stem
}

/// Principals by themselves, and roles that are siblings by name and read from the same folders as one.
fn groups<'p>(pairs: &'p Pairs, convention: &Convention) -> Vec<Group<'p>> {
    let mut by_stem: BTreeMap<String, Vec<&Text>> = BTreeMap::new();
    for principal in pairs.keys() {
        by_stem
            .entry(stem(principal).unwrap_or_else(|| principal.to_string()))
            .or_default()
            .push(principal);
    }
    let mut groups = Vec::new();
    for (stem, principals) in by_stem {
        let all = |principals: &[&'_ Text]| -> Vec<_> {
            let of = |p: &Text| {
                pairs
                    .get_key_value(p)
                    .into_iter()
                    .flat_map(|(p, t)| t.iter().map(move |(t, a)| (p, t, a)))
            };
            principals.iter().flat_map(|p| of(p)).collect()
        };
        let folder = convention.folder(&principals, pairs);
        if folder.is_some() || (principals.len() > 1 && are_siblings(&principals, pairs)) {
            groups.push(Group {
                patterns: vec![format!("{stem}*")],
                folded: true,
                folder,
                pairs: all(&principals),
            });
        } else {
            for principal in principals {
                let (patterns, pairs) = (vec![principal.to_string()], all(&[principal]));
                groups.push(Group {
                    patterns,
                    folded: false,
                    folder: None,
                    pairs,
                });
            }
        }
    }
    groups
}

/// `prod-payments` of `…:role/prod-payments-app`; roles only, and not those of people or of services.
fn stem_name(principal: &str) -> Option<&str> {
    let resource = Arn::parse(principal)
        .filter(|arn| arn.service == "iam")?
        .resource;
    if resource.contains("AWSReservedSSO_") || resource.contains("aws-service-role/") {
        return None;
    }
    let (stem, _) = resource
        .strip_prefix("role/")?
        .rsplit('/')
        .next()?
        .rsplit_once('-')?;
    Some(stem).filter(|stem| !stem.is_empty())
}

/// `…:role/prod-payments-` of `…:role/prod-payments-app`.
fn stem(principal: &str) -> Option<String> {
    stem_name(principal)?;
    let (before, _) = principal.rsplit_once('-')?;
    Some(format!("{before}-"))
}

/// Whether every one of them reads mostly from folders that others of them read from too.
fn are_siblings(principals: &[&Text], pairs: &Pairs) -> bool {
    let folders = |principal: &Text| -> BTreeSet<(&Text, Store, &str)> {
        let targets = pairs.get(principal).into_iter().flat_map(|p| p.keys());
        targets
            .map(|t| (&t.account, t.store, topic(&t.name)))
            .collect()
    };
    let all: Vec<_> = principals.iter().map(|p| folders(p)).collect();
    all.iter().enumerate().all(|(index, mine)| {
        let others: BTreeSet<_> = all
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .flat_map(|(_, f)| f.iter().copied())
            .collect();
        let (shared, total) = (
            mine.intersection(&others).count(),
            mine.union(&others).count(),
        );
        shared > 0 && shared * 2 >= total
    })
}

/// The first two parts of a path, by which applications are usually told apart; of a flat name, the part before its last
/// hyphen.
fn topic(name: &str) -> &str {
    let path = name.strip_prefix('/').unwrap_or(name);
    match path
        .match_indices('/')
        .nth(1)
        .or_else(|| path.match_indices('/').next())
    {
        Some((end, _)) => path.get(..end).unwrap_or(path),
        None => path.rsplit_once('-').map_or(path, |(stem, _)| stem),
    }
}

/// Names and patterns of both stores. A folder that is a pattern in one of them is one in the other too, if nobody else
/// reads there: applications call their folders alike.
fn patterns<'p>(
    targets: impl Iterator<Item = &'p Target>,
    (partition, account): (&'p Text, &'p Text),
    siblings: bool,
    known: &BTreeMap<Place<'p>, BTreeSet<&'p str>>,
) -> Vec<(Store, String)> {
    let mut read: BTreeMap<Store, BTreeSet<&str>> = BTreeMap::new();
    for target in targets {
        read.entry(target.store).or_default().insert(&target.name);
    }
    let none = BTreeSet::new();
    let known = |store: Store| known.get(&(partition, account, store)).unwrap_or(&none);
    let mut alike: BTreeSet<String> = BTreeSet::new();
    for (store, read) in &read {
        let folders = names(read, known(*store), siblings, &none).into_iter();
        alike.extend(
            folders.filter_map(|p| Some(p.strip_suffix('*')?.trim_start_matches('/').to_owned())),
        );
    }
    let alike: BTreeSet<&str> = alike.iter().map(String::as_str).collect();
    let of_store = |(store, read): (&Store, &BTreeSet<&str>)| {
        let store = *store;
        names(read, known(store), siblings, &alike)
            .into_iter()
            .map(move |pattern| (store, pattern))
    };
    read.iter().flat_map(of_store).collect()
}

/// Names, and patterns for folders of which enough was read: three things in it and half of all that anybody reads there;
/// two, where siblings read all there is; one, where the folder is known from the other store. The widest such folder is
/// taken.
fn names(
    read: &BTreeSet<&str>,
    known: &BTreeSet<&str>,
    siblings: bool,
    alike: &BTreeSet<&str>,
) -> Vec<String> {
    let mut folders: BTreeSet<&str> = BTreeSet::new();
    for name in read {
        folders.extend(parents(name));
    }
    let mut patterns: Vec<String> = Vec::new();
    // Shorter folders come before those in them.
    for folder in folders {
        if patterns
            .iter()
            .any(|p| folder.starts_with(p.trim_end_matches('*')))
        {
            continue;
        }
        let below = |all: &BTreeSet<&'_ str>| all.iter().filter(|n| n.starts_with(folder)).count();
        let inside = read
            .iter()
            .filter_map(|n| n.strip_prefix(folder)?.split('/').next());
        let children = inside.collect::<BTreeSet<&str>>().len();
        let enough = match below(read) == below(known) {
            true if alike.contains(folder.trim_start_matches('/')) => 1,
            true if siblings => SIBLINGS - 1,
            _ => SIBLINGS,
        };
        if children >= enough && below(read) * 2 >= below(known) {
            patterns.push(format!("{folder}*"));
        }
    }
    // Of a path that was read, what is below it is covered, and so is the path.
    let covered = |name: &&&str| {
        patterns
            .iter()
            .any(|p| format!("{name}/").starts_with(p.trim_end_matches('*')))
    };
    let rest: Vec<String> = read
        .iter()
        .filter(|n| !covered(n))
        .map(ToString::to_string)
        .collect();
    patterns.extend(rest);
    patterns.sort();
    patterns
}

/// Every folder on the way to a name, with its slash; of a flat name, the part up to its last hyphen.
fn parents(name: &str) -> Vec<&str> {
    let path: Vec<&str> = name
        .match_indices('/')
        .filter(|(at, _)| *at > 0)
        .filter_map(|(at, _)| name.get(..=at))
        .collect();
    match path.is_empty() {
        true => name
            .rfind('-')
            .and_then(|at| name.get(..=at))
            .into_iter()
            .collect(),
        false => path,
    }
}

/// Addresses to networks: a /24 of which two addresses were seen, a private /16 of which three such were; /64 for IPv6.
fn networks<'o>(origins: impl Iterator<Item = &'o Origin>) -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut nets: BTreeMap<IpNet, BTreeSet<IpAddr>> = BTreeMap::new();
    for origin in origins {
        match origin {
            Origin::Name(name) => drop(names.insert(name.to_string())),
            Origin::Address(address) => {
                let net = match address {
                    IpAddr::V4(v4) => Ipv4Net::new(*v4, 24).map(|n| IpNet::V4(n.trunc())),
                    IpAddr::V6(v6) => Ipv6Net::new(*v6, 64).map(|n| IpNet::V6(n.trunc())),
                };
                nets.entry(net.unwrap_or_else(|_| IpNet::from(*address)))
                    .or_default()
                    .insert(*address);
            }
        }
    }
    let private_16 = |net: &IpNet| match net {
        IpNet::V4(v4) if v4.network().is_private() => Ipv4Net::new(v4.network(), 16).ok(),
        _ => None,
    };
    let mut wide: BTreeMap<Ipv4Net, usize> = BTreeMap::new();
    for net in nets.keys().filter_map(private_16) {
        *wide.entry(net.trunc()).or_default() += 1;
    }
    for (net, addresses) in &nets {
        let wider = private_16(net)
            .map(|w| w.trunc())
            .filter(|w| wide.get(w).is_some_and(|n| *n >= SIBLINGS));
        names.insert(match (wider, addresses.first()) {
            (Some(wider), _) => wider.to_string(),
            (None, Some(IpAddr::V4(one))) if addresses.len() == 1 => format!("{one}/32"),
            _ => net.to_string(),
        });
    }
    names.into_iter().collect()
}

/// Few keys as they are; of many, or where secrets stand for others, the keys of their accounts.
fn keys(seen: BTreeSet<&Text>, folded: bool) -> Vec<String> {
    if seen.len() <= LISTED_KEYS && !folded {
        return seen.iter().map(ToString::to_string).collect();
    }
    let of_account = |key: &&Text| {
        let arn = Arn::parse(key)?;
        Some(format!("arn:{}:kms:*:{}:key/*", arn.partition, arn.account))
    };
    seen.iter()
        .filter_map(of_account)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fold_only_with_enough_siblings() {
        let check = |read: &[&str], more: &[&str], expected: &[&str]| {
            let read: BTreeSet<&str> = read.iter().copied().collect();
            let known: BTreeSet<&str> = read.iter().chain(more).copied().collect();
            assert_eq!(names(&read, &known, false, &BTreeSet::new()), expected);
        };
        check(
            &["prod/pay/a", "prod/pay/b"],
            &[],
            &["prod/pay/a", "prod/pay/b"],
        );
        check(
            &["prod/pay/a", "prod/pay/b", "prod/pay/c"],
            &[],
            &["prod/pay/*"],
        );
        let others = ["prod/pay/w", "prod/pay/x", "prod/pay/y", "prod/pay/z"];
        check(
            &["prod/pay/a", "prod/pay/b", "prod/pay/c"],
            &others,
            &["prod/pay/a", "prod/pay/b", "prod/pay/c"],
        );
        check(&["prod/a/1", "prod/b/1", "prod/c/1"], &[], &["prod/*"]);
        check(
            &["/p/a/1", "/p/a/2", "/p/b/1", "x"],
            &[],
            &["/p/a/1", "/p/a/2", "/p/b/1", "x"],
        );
        check(&["key-1", "key-2", "key-3"], &[], &["key-*"]);
        check(&["alone", "other"], &[], &["alone", "other"]);
        let (two, alike): (BTreeSet<&str>, _) = (["/p/a/1", "/p/a/2"].into(), ["p/a/"].into());
        assert_eq!(
            names(&two, &two, true, &BTreeSet::new()),
            ["/p/a/*"],
            "siblings, and nobody else"
        );
        let (one, more): (BTreeSet<&str>, BTreeSet<&str>) =
            (["/p/a/1"].into(), ["/p/a/1", "/p/a/2"].into());
        assert_eq!(
            names(&one, &one, false, &alike),
            ["/p/a/*"],
            "known from the other store"
        );
        assert_eq!(
            names(&one, &more, true, &alike),
            ["/p/a/1"],
            "somebody else reads there too"
        );
    }

    #[test]
    fn folders_are_called_as_roles_are() {
        for (path, stem, is) in [
            ("a/b", "a-b", true),
            ("a/b-c", "a-b-c", true),
            ("a/b", "a-bc", false),
            ("a/b", "a", false),
            ("a", "a-b", false),
        ] {
            assert_eq!(is_called(path, stem), is, "{path} {stem}");
        }
        assert_eq!(
            stem("arn:aws:iam::1:role/x/prod-pay-app").as_deref(),
            Some("arn:aws:iam::1:role/x/prod-pay-")
        );
        assert_eq!(
            stem("arn:aws:iam::1:role/app-app").as_deref(),
            Some("arn:aws:iam::1:role/app-")
        );
        assert_eq!(stem("arn:aws:iam::1:user/a-b"), None);
    }

    #[test]
    fn addresses_fold_to_networks() {
        let check = |addresses: &[&str], expected: &[&str]| {
            let origins: Vec<Origin> = addresses
                .iter()
                .map(|a| Origin::Address(a.parse().unwrap()))
                .collect();
            assert_eq!(networks(origins.iter()), expected);
        };
        check(&["192.0.2.7"], &["192.0.2.7/32"]);
        check(&["192.0.2.7", "192.0.2.9"], &["192.0.2.0/24"]);
        check(&["10.1.1.1", "10.1.2.1", "10.1.3.1"], &["10.1.0.0/16"]);
        check(&["10.1.1.1", "10.2.2.1"], &["10.1.1.1/32", "10.2.2.1/32"]);
        check(&["2001:db8::1"], &["2001:db8::/64"]);
    }
}
