//! The session key: given by the operator, or made at the first start and kept in `<data-dir>/session.key`.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

/// Bytes of randomness in a made key.
const KEY_BYTES: usize = 32;

fn key_path(dir: &Path) -> PathBuf {
    dir.join("session.key")
}

/// The key kept in `dir`, made when there is none.
///
/// # Errors
/// When the file cannot be read or written, or is empty.
pub fn load_or_make(dir: &Path) -> anyhow::Result<Arc<str>> {
    if let Some(key) = load(dir)? {
        return Ok(key);
    }
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gave no random bytes: {error}"))?;
    let key: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = key_path(dir);
    let temporary = dir.join("session.key.tmp");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(|| format!("cannot write {}", temporary.display()))?;
    writeln!(file, "{key}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key.into())
}

/// The key kept in `dir`, if there is one.
///
/// # Errors
/// When the file cannot be read or is empty.
pub fn load(dir: &Path) -> anyhow::Result<Option<Arc<str>>> {
    let path = key_path(dir);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let key = text.trim();
    if key.is_empty() {
        bail!("{} is empty: remove it to have a key made, or write one into it", path.display());
    }
    Ok(Some(key.into()))
}
