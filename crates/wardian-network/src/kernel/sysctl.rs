//! Settings under /proc/sys/net, of the calling thread's network namespace.

use std::{fs, io};

use crate::error::NetworkError;

/// Sets `key` (with slashes, below /proc/sys/net) and says whether that changed anything.
pub(crate) fn set(key: &str, value: &str) -> Result<bool, NetworkError> {
    let path = format!("/proc/sys/net/{key}");
    let now = fs::read_to_string(&path).map_err(NetworkError::file("read", &path))?;
    if now.trim() == value {
        return Ok(false);
    }
    fs::write(&path, value).map_err(NetworkError::file("write", &path))?;
    Ok(true)
}

/// Whether this kernel, with the modules it has loaded, has the setting.
pub(crate) fn is_there(key: &str) -> bool {
    fs::exists(format!("/proc/sys/net/{key}")).unwrap_or(false)
}

/// Like [`set`], for settings that not every kernel has.
pub(crate) fn set_if_there(key: &str, value: &str) -> Result<bool, NetworkError> {
    match set(key, value) {
        Err(NetworkError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}
