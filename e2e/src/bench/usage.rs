//! What a daemon costs: processor time and memory of all its processes, as the kernel counts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::process::Process;

/// The unit of times in `/proc/PID/stat`: USER_HZ is 100 on every architecture that Linux counts so for.
const TICK: Duration = Duration::from_millis(10);

/// Processor time and memory of a daemon over a span of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Processor time, of user and kernel, by all processes.
    pub(super) processor: Duration,
    /// In how much time.
    pub(super) during: Duration,
    /// Resident memory at the end, in KiB: the sum over all processes, pages that they share counted in each.
    pub(super) resident: u64,
}

impl Usage {
    /// The share of one processor.
    pub(super) fn share(&self) -> f64 {
        self.processor.as_secs_f64() / self.during.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Resident memory in MiB.
    pub(super) fn mebibytes(&self) -> f64 {
        self.resident as f64 / 1_024.0
    }
}

/// Processor time of all processes of `daemon` since they were started.
///
/// # Errors
/// When one of them has ended.
pub(super) fn processor(daemon: &Process) -> Result<Duration> {
    daemon.all().into_iter().map(processor_of).sum()
}

/// Resident memory of all processes of `daemon`, in KiB.
///
/// # Errors
/// When one of them has ended.
pub(super) fn resident(daemon: &Process) -> Result<u64> {
    daemon.all().into_iter().map(resident_of).sum()
}

fn processor_of(pid: Pid) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let ticks = ticks(&stat).with_context(|| format!("no times in {path}"))?;
    Ok(TICK * u32::try_from(ticks)?)
}

/// utime and stime of a line of `/proc/PID/stat` (proc_pid_stat(5): fields 14 and 15).
fn ticks(stat: &str) -> Option<u64> {
    // The command name in parentheses may contain anything; field 3 follows the last one.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (times.next()?.parse().ok()?, times.next()?.parse().ok()?);
    Some(user + system)
}

fn resident_of(pid: Pid) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    rss(&text).with_context(|| format!("no Rss in {path}"))
}

/// `Rss` of a `smaps_rollup`, in KiB.
fn rss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_command_name() {
        let stat = "1 (a) b (c)) S 0 1 1 0 -1 4194560 1 2 3 4 17 25 6 7 20 0 1 0 5 170 300";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("nothing"), None);
    }

    #[test]
    fn resident_memory_is_that_of_the_whole_process() {
        let text =
            "5500-7fff ---p 00000000 00:00 0 [rollup]\nRss:                4096 kB\nPss: 1 kB\n";
        assert_eq!(rss(text), Some(4_096));
    }

    #[test]
    fn a_share_is_of_one_processor() {
        let usage = Usage {
            processor: Duration::from_millis(500),
            during: Duration::from_secs(20),
            resident: 16_384,
        };
        assert!((usage.share() - 0.025).abs() < 1e-9);
        assert!((usage.mebibytes() - 16.0).abs() < 1e-9);
    }
}
