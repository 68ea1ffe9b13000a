//! Naming conventions: whether an organisation names folders of secrets after its roles.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    baseline::pairs::{ENOUGH_READS, ReadPair, ReadPairs, SecretTarget},
    ids::{ArnParts, SecretStore, SharedStr},
};

/// Groups of roles that must follow a naming convention before it is applied to roles with little
/// history.
const CONVENTION_GROUPS: usize = 10;

/// The convention that roles `a-b-…` read `a/b/…`. Accepted if at least ten groups and four of five
/// roles follow it.
#[derive(Default)]
pub(super) struct Convention {
    /// Folder by name stem: `prod/payments` by `prod-payments`.
    folders: BTreeMap<String, String>,
    /// Stores in which the convention is followed.
    pub(super) stores: BTreeSet<SecretStore>,
    /// Whether four of five groups with enough reads read in several regions.
    pub(super) everywhere: bool,
}

/// Reads of the roles with one name stem in one account.
#[derive(Default)]
struct StemUse<'p> {
    reads: u64,
    regions: BTreeSet<&'p SharedStr>,
}

impl Convention {
    pub(super) fn of(pairs: &ReadPairs) -> Self {
        let mut found = Self::default();
        let (mut following, mut roles) = (0, 0);
        let mut uses: BTreeMap<(&SharedStr, &str), StemUse<'_>> = BTreeMap::new();
        for (stem, targets) in pairs.iter().filter_map(|(p, t)| Some((stem_name(p)?, t))) {
            roles += 1;
            let Some(folder) = folder_called(stem, targets.keys()) else {
                continue;
            };
            following += 1;
            found.folders.insert(stem.to_owned(), folder.to_owned());
            for (target, pair) in targets {
                found.stores.insert(target.store);
                uses.entry((&target.account, stem)).or_default().add(pair);
            }
        }
        if found.folders.len() < CONVENTION_GROUPS || following * 5 < roles * 4 {
            // Names may match by chance: a few groups do not prove a convention.
            return Self::default();
        }
        found.everywhere = is_everywhere(uses.values());
        found
    }

    /// The folder of these roles; `None` unless all of them follow the convention.
    pub(super) fn folder(&self, principals: &[&SharedStr], pairs: &ReadPairs) -> Option<String> {
        let stem = stem_name(principals.first()?)?;
        let folder = self.folders.get(stem)?;
        // One that reads elsewhere would be granted a folder that it never used.
        let all_follow = principals.iter().all(|principal| {
            let targets = pairs.get(*principal);
            targets.is_some_and(|targets| folder_called(stem, targets.keys()).is_some())
        });
        all_follow.then(|| folder.clone())
    }
}

impl<'p> StemUse<'p> {
    fn add(&mut self, pair: &'p ReadPair) {
        self.reads += pair.uses.reads;
        self.regions.extend(pair.regions.keys());
    }
}

fn is_everywhere<'u>(uses: impl Iterator<Item = &'u StemUse<'u>>) -> bool {
    let (mut known, mut several) = (0, 0);
    // With few reads, a stem may read in regions that were not seen yet.
    for one in uses.filter(|one| one.reads >= ENOUGH_READS) {
        known += 1;
        several += usize::from(one.regions.len() > 1);
    }
    several > 0 && several * 5 >= known * 4
}

/// The folder that contains all targets, if it is named after the roles: `prod/payments` for
/// `prod-payments`.
fn folder_called<'t>(
    stem: &str,
    targets: impl Iterator<Item = &'t SecretTarget>,
) -> Option<&'t str> {
    let mut folder = None;
    for target in targets {
        let path = target.name.trim_start_matches('/');
        // A read by path targets the folder itself.
        let mine = [path.trim_end_matches('/'), topic(&target.name)];
        let mut mine = mine.into_iter();
        folder = Some(mine.find(|folder| folder.contains('/') && is_called(folder, stem))?);
    }
    folder
}

/// Whether a folder is named after roles: `prod/payments` and `prod-payments`.
fn is_called(folder: &str, stem: &str) -> bool {
    folder.replace('/', "-") == stem
}

/// The folder, at most two levels deep, that usually distinguishes applications; for a flat name,
/// the part before its last hyphen.
pub(super) fn topic(name: &str) -> &str {
    let path = name.strip_prefix('/').unwrap_or(name);
    let mut slashes = path.match_indices('/');
    let first = slashes.next();
    match slashes.next().or(first) {
        Some((end, _)) => path.get(..end).unwrap_or(path),
        None => path.rsplit_once('-').map_or(path, |(stem, _)| stem),
    }
}

/// `…:role/prod-payments-` for `…:role/prod-payments-app`; `None` if the name has no stem.
pub(super) fn stem(principal: &str) -> Option<String> {
    stem_name(principal)?;
    let (before, _) = principal.rsplit_once('-')?;
    Some(format!("{before}-"))
}

/// `prod-payments` for `…:role/prod-payments-app`; `None` for other principals, and for SSO and
/// service-linked roles.
fn stem_name(principal: &str) -> Option<&str> {
    let arn = ArnParts::parse(principal).filter(|arn| arn.service == "iam")?;
    let path = arn.resource.strip_prefix("role/")?;
    // AWS generates these names, so a shared stem means nothing. For IAM Identity Center roles, the
    // name of the user follows the role.
    if path.contains("AWSReservedSSO_") || path.contains("aws-service-role/") {
        return None;
    }
    let (stem, _) = path.rsplit('/').next()?.rsplit_once('-')?;
    Some(stem).filter(|stem| !stem.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baseline::pairs::Uses;

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
    }

    #[test]
    fn only_roles_that_people_name_have_a_stem() {
        for (resource, stem) in [
            ("role/x/prod-pay-app", Some("prod-pay")),
            ("role/app-app", Some("app")),
            ("role/-app", None),
            ("role/app", None),
            ("user/a-b", None),
            (
                "role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Dev-Ops_0a/ann",
                None,
            ),
            (
                "role/aws-service-role/x.amazonaws.com/AWSServiceRoleFor-X",
                None,
            ),
        ] {
            let arn = format!("arn:aws:iam::1:{resource}");
            assert_eq!(stem_name(&arn), stem, "{arn}");
        }
        assert_eq!(stem_name("cloudformation-x.amazonaws.com"), None);
        assert_eq!(
            stem("arn:aws:iam::1:role/x/prod-pay-app").as_deref(),
            Some("arn:aws:iam::1:role/x/prod-pay-")
        );
    }

    #[test]
    fn applications_are_distinguished_by_two_parts_of_a_path() {
        for (name, expected) in [
            ("prod/pay/db/key", "prod/pay"),
            ("/prod/pay/db", "prod/pay"),
            ("prod/pay", "prod"),
            ("prod-pay-db", "prod-pay"),
            ("db", "db"),
        ] {
            assert_eq!(topic(name), expected, "{name}");
        }
    }

    fn target(name: &str) -> SecretTarget {
        SecretTarget {
            partition: "aws".into(),
            account: "1".into(),
            store: SecretStore::Ssm,
            name: name.into(),
        }
    }

    /// One role for each name, with so many reads of its target in these regions.
    fn pairs(roles: &[(String, String)], reads: u64, regions: &[&str]) -> ReadPairs {
        let mut pairs = ReadPairs::new();
        for (role, name) in roles {
            let pair = ReadPair {
                uses: Uses {
                    reads,
                    ..Uses::default()
                },
                regions: regions
                    .iter()
                    .map(|region| (SharedStr::from(*region), Uses::default()))
                    .collect(),
                ..ReadPair::default()
            };
            let targets = pairs
                .entry(format!("arn:aws:iam::1:role/{role}").into())
                .or_default();
            targets.insert(target(name), pair);
        }
        pairs
    }

    fn roles(following: usize, others: usize) -> Vec<(String, String)> {
        let following =
            (0..following).map(|n| (format!("prod-a{n}-app"), format!("/prod/a{n}/key")));
        let others = (0..others).map(|n| (format!("other{n}-app"), format!("/prod/x{n}/key")));
        following.chain(others).collect()
    }

    fn folder_of_first(roles: &[(String, String)]) -> Option<String> {
        let pairs = pairs(roles, 1, &[]);
        let first: Vec<&SharedStr> = pairs.keys().filter(|role| role.contains("-a0-")).collect();
        Convention::of(&pairs).folder(&first, &pairs)
    }

    #[test]
    fn ten_groups_and_four_roles_of_five_make_a_convention() {
        assert_eq!(folder_of_first(&roles(12, 3)).as_deref(), Some("prod/a0"));
        assert_eq!(folder_of_first(&roles(12, 4)), None);
        assert_eq!(folder_of_first(&roles(9, 0)), None);
    }

    #[test]
    fn regions_count_only_where_enough_was_read() {
        let roles = roles(10, 0);
        let two = ["eu-west-1", "us-east-1"];
        assert!(Convention::of(&pairs(&roles, ENOUGH_READS, &two)).everywhere);
        assert!(!Convention::of(&pairs(&roles, ENOUGH_READS - 1, &two)).everywhere);
        assert!(!Convention::of(&pairs(&roles, ENOUGH_READS, &two[..1])).everywhere);
    }
}
