//! The agent's incarnation: a number that is greater after each start, so that what was said before it is told from
//! what is said now.
//!
//! Owns one file of the state directory. The wall clock makes the number, the file makes sure that it rises, whatever
//! that clock does.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The next incarnation: nanoseconds since the epoch by the clock `wall`, and more than the last.
///
/// # Errors
/// If the file cannot be written: then the number rises by the clock alone.
pub fn next(state_dir: &Path, wall: Duration) -> (u64, io::Result<()>) {
    let path = state_dir.join("incarnation");
    let last = fs::read_to_string(&path).ok();
    let last: u64 = last.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let now = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
    let next = now.max(last.saturating_add(1));
    let temporary = state_dir.join("incarnation.new");
    let written =
        fs::write(&temporary, format!("{next}\n")).and_then(|()| fs::rename(&temporary, &path));
    (next, written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Directory;

    #[test]
    fn it_rises_with_each_start_even_if_the_clock_goes_back() {
        let scratch = Directory::new();
        let at = |seconds| next(scratch.path(), Duration::from_secs(seconds)).0;
        assert_eq!(at(1_000), 1_000_000_000_000);
        assert_eq!(at(1_000), 1_000_000_000_001);
        assert_eq!(at(10), 1_000_000_000_002);
        assert_eq!(at(2_000), 2_000_000_000_000);
    }

    #[test]
    fn an_unreadable_file_is_none_and_an_unwritable_one_is_said() {
        let scratch = Directory::new();
        fs::write(scratch.path().join("incarnation"), "half a numb").unwrap();
        let (number, written) = next(scratch.path(), Duration::from_secs(5));
        assert_eq!(number, 5_000_000_000);
        written.unwrap();
        let (number, written) = next(Path::new("/nonexistent"), Duration::from_secs(5));
        assert_eq!(number, 5_000_000_000);
        assert!(written.is_err());
    }
}
