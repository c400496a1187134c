//! Which programs there are.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;

use crate::jobs::plan::check_tool;

/// The names of the programs in the folders of a `PATH`, each once, in order. Folders that cannot be read have none.
#[must_use]
pub fn on_path(path: &OsStr) -> Vec<String> {
    let mut names = BTreeSet::new();
    for dir in std::env::split_paths(path) {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for entry in entries.flatten() {
            // Through links: a link to a program is one.
            let is_program = std::fs::metadata(entry.path())
                .is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0);
            if let Ok(name) = entry.file_name().into_string()
                && is_program
                && check_tool(&name, "tool").is_ok()
            {
                names.insert(name);
            }
        }
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, mode| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        make("tool", 0o755);
        make("notes", 0o644);
        make("two words", 0o755);
        std::os::unix::fs::symlink(dir.path().join("tool"), dir.path().join("alias")).unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let path = std::env::join_paths([dir.path(), std::path::Path::new("/no/such/folder")]).unwrap();
        assert_eq!(on_path(&path), ["alias", "tool"]);
    }
}
