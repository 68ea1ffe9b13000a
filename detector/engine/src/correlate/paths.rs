//! The paths of `GetParametersByPath`, as a tree: each KMS Decrypt finds those above its parameter
//! by going down its name once, however many paths there are.

use ahash::HashMap;

use crate::{
    correlate::steps,
    ids::{SecretPlace, SecretRef},
};

/// A folder in the tree.
pub(super) type FolderId = usize;

/// The folders that were asked for, and those above them.
#[derive(Default)]
pub(super) struct FolderTree<'s> {
    /// The root of each account and region.
    roots: HashMap<SecretPlace<'s>, FolderId>,
    /// Folders by parent and name.
    folders: HashMap<(FolderId, &'s str), FolderId>,
    count: FolderId,
}

/// A folder above a parameter.
pub(super) struct FolderAbove {
    pub(super) folder: FolderId,
    /// Whether nothing is between both.
    pub(super) is_parent: bool,
}

impl<'s> FolderTree<'s> {
    /// The folder of a path, which may be written with or without a slash at its end.
    pub(super) fn add(&mut self, path: &'s SecretRef) -> FolderId {
        let count = &mut self.count;
        let mut folder = *self.roots.entry(path.root()).or_insert_with(|| next(count));
        let names = path.name.as_deref().unwrap_or_default().trim_matches('/');
        // The root has no name: splitting nothing would give a folder with an empty one.
        for name in names.split('/').filter(|_| !names.is_empty()) {
            steps::count();
            let child = self.folders.entry((folder, name));
            folder = *child.or_insert_with(|| next(count));
        }
        folder
    }

    /// The folders above a parameter.
    pub(super) fn above(&self, parameter: &SecretRef) -> Vec<FolderAbove> {
        let mut above = Vec::new();
        let Some(root) = self.roots.get(&parameter.root()) else {
            return above;
        };
        let mut folder = *root;
        // A parameter at the root may be written with or without its slash.
        let name = parameter.name.as_deref().unwrap_or_default();
        let mut names = name.trim_start_matches('/').split('/').peekable();
        while let Some(name) = names.next() {
            steps::count();
            above.push(FolderAbove {
                folder,
                is_parent: names.peek().is_none(),
            });
            match self.folders.get(&(folder, name)) {
                Some(child) => folder = *child,
                None => break,
            }
        }
        above
    }
}

fn next(count: &mut FolderId) -> FolderId {
    *count += 1;
    *count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events_for_tests::HOME;

    /// Whether a path holds a parameter: at any depth, and directly.
    fn holds(path: &SecretRef, parameter: &SecretRef) -> (bool, bool) {
        let mut tree = FolderTree::default();
        let folder = tree.add(path);
        let above = tree.above(parameter);
        let mut found = above.iter().filter(|above| above.folder == folder);
        let found = found.next();
        (found.is_some(), found.is_some_and(|above| above.is_parent))
    }

    #[test]
    fn a_path_holds_what_is_below_it_and_nothing_that_only_begins_so() {
        let cases = [
            ("/app", "/app/a", true, true),
            ("/app", "/app/a/b", true, false),
            ("/app/", "/app/a", true, true),
            ("/app", "/apple", false, false),
            ("/app", "/app", false, false),
            ("/", "root", true, true),
            ("/", "/app/a", true, false),
            ("/a/b", "/a/b/c", true, true),
            ("/a/b", "/a/c", false, false),
        ];
        for (path, name, recursive, direct) in cases {
            let path = SecretRef::path(path, HOME);
            let parameter = SecretRef::parameter(name, HOME);
            assert_eq!(
                holds(&path, &parameter),
                (recursive, direct),
                "{path:?} {name}"
            );
        }
        let elsewhere = SecretRef {
            region: "us-east-1".into(),
            ..SecretRef::path("/app", HOME)
        };
        let parameter = SecretRef::parameter("/app/a", HOME);
        assert_eq!(holds(&elsewhere, &parameter), (false, false));
        let path = SecretRef::path("/app", HOME);
        let secret = SecretRef::secret("app/a", HOME);
        assert_eq!(holds(&path, &secret), (false, false));
    }
}
