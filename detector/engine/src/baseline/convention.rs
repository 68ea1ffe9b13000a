//! Names of roles, and whether an organisation calls its folders of secrets as it calls its roles.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::pairs::{ENOUGH_READS, ReadPair, ReadPairs, SecretTarget};
use crate::ids::{ArnParts, SecretStore, SharedStr};

/// Groups of roles that must follow a naming convention before it stands for those of which little
/// was seen.
const CONVENTION_GROUPS: usize = 10;

/// That roles `a-b-…` read `a/b/…`, if the history shows it: at least ten such groups, and four
/// roles of five.
#[derive(Default)]
pub(super) struct Convention {
    /// Names of roles without their last part, with their folders.
    folders: BTreeMap<String, String>,
    /// Stores in which it is followed.
    pub(super) stores: BTreeSet<SecretStore>,
    /// Whether four of five such groups with enough reads read in several regions.
    pub(super) everywhere: bool,
}

/// What the roles of one name stem read in one account.
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
            // Names may agree by chance: what a few do says nothing of roles that were hardly seen.
            return Self::default();
        }
        found.everywhere = is_everywhere(uses.values());
        found
    }

    /// The folder of roles that all follow the convention.
    pub(super) fn folder(&self, principals: &[&SharedStr], pairs: &ReadPairs) -> Option<String> {
        let stem = stem_name(principals.first()?)?;
        let folder = self.folders.get(stem)?;
        let all_follow = principals.iter().all(|principal| {
            let targets = pairs.get(*principal);
            targets.is_some_and(|targets| folder_called(stem, targets.keys()).is_some())
        });
        all_follow.then(|| folder.clone())
    }
}

impl<'p> StemUse<'p> {
    fn add(&mut self, pair: &'p ReadPair) {
        self.reads += pair.reads;
        self.regions.extend(&pair.regions);
    }
}

fn is_everywhere<'u>(uses: impl Iterator<Item = &'u StemUse<'u>>) -> bool {
    let (mut known, mut several) = (0, 0);
    // A stem with few reads was perhaps not seen yet where it reads too.
    for one in uses.filter(|one| one.reads >= ENOUGH_READS) {
        known += 1;
        several += usize::from(one.regions.len() > 1);
    }
    several > 0 && several * 5 >= known * 4
}

/// The folder that all targets lie in, if it is called as the roles are: `prod/payments` for
/// `prod-payments`.
fn folder_called<'t>(
    stem: &str,
    targets: impl Iterator<Item = &'t SecretTarget>,
) -> Option<&'t str> {
    let mut folder = None;
    for target in targets {
        let path = target.name.trim_start_matches('/');
        // What is read by path is the folder itself.
        let mine = [path.trim_end_matches('/'), topic(&target.name)];
        let mut mine = mine.into_iter();
        folder = Some(mine.find(|folder| folder.contains('/') && is_called(folder, stem))?);
    }
    folder
}

/// Whether a folder is called as roles are: `prod/payments` and `prod-payments`.
fn is_called(folder: &str, stem: &str) -> bool {
    folder.replace('/', "-") == stem
}

/// The first two parts of a path, by which applications are usually told apart; of a flat name, the
/// part before its last hyphen.
pub(super) fn topic(name: &str) -> &str {
    let path = name.strip_prefix('/').unwrap_or(name);
    let mut slashes = path.match_indices('/');
    let first = slashes.next();
    match slashes.next().or(first) {
        Some((end, _)) => path.get(..end).unwrap_or(path),
        None => path.rsplit_once('-').map_or(path, |(stem, _)| stem),
    }
}

/// `…:role/prod-payments-` of `…:role/prod-payments-app`; `None` for what has no stem.
pub(super) fn stem(principal: &str) -> Option<String> {
    stem_name(principal)?;
    let (before, _) = principal.rsplit_once('-')?;
    Some(format!("{before}-"))
}

/// `prod-payments` of `…:role/prod-payments-app`; roles only, and not those of people or of
/// services.
fn stem_name(principal: &str) -> Option<&str> {
    let arn = ArnParts::parse(principal).filter(|arn| arn.service == "iam")?;
    let path = arn.resource.strip_prefix("role/")?;
    // AWS makes these names: that they share a stem says nothing of who uses them. People behind
    // one of IAM Identity Center's roles have their own name after it.
    if path.contains("AWSReservedSSO_") || path.contains("aws-service-role/") {
        return None;
    }
    let (stem, _) = path.rsplit('/').next()?.rsplit_once('-')?;
    Some(stem).filter(|stem| !stem.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn applications_are_told_apart_by_two_parts_of_a_path() {
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

    /// A role for each name, that reads this much of each target in these regions.
    fn pairs(roles: &[(String, String)], reads: u64, regions: &[&str]) -> ReadPairs {
        let mut pairs = ReadPairs::new();
        for (role, name) in roles {
            let pair = ReadPair {
                reads,
                regions: regions
                    .iter()
                    .map(|region| SharedStr::from(*region))
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
