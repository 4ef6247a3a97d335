//! The guardian's life: it waits, passes signals on, judges, acts once, and ends as the agent ended.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tracing::{debug, error, info, warn};
use vipkeeper_vrrp::Time;

use super::judge::{Judge, Verdict};
use super::page::Pulse;
use super::withdrawal::{Removed, Withdrawal};
use crate::cli::RunArgs;
use crate::{clock, sys};

/// Above the election, which might be what hangs, in a loop.
const FIFO_PRIORITY: u8 = 51;
/// How often a killed agent that does not end is looked at.
const DYING: Duration = Duration::from_millis(20);
/// The exit status of one that a signal ended is this and the signal's number, as shells have it.
const BY_SIGNAL: i32 = 128;
/// What is passed on to the agent.
const PASSED_ON: [Signal; 5] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// What the guardian waits for besides the doorbell.
pub(super) fn signals() -> SigSet {
    let mut signals = SigSet::from_iter(PASSED_ON);
    signals.add(Signal::SIGCHLD);
    signals
}

/// The guardian, before it begins.
pub struct Watch {
    agent: Pid,
    pulse: Pulse,
    instance: String,
    state_dir: PathBuf,
    /// Whether it waits to be told to end once the agent was replaced.
    stays: bool,
    /// Open as long as the guardian lives.
    _life: OwnedFd,
}

/// How the agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Killed(Signal),
    /// Somebody else took its status.
    Unknown,
}

impl Watch {
    pub(super) fn new(args: &RunArgs, agent: Pid, pulse: Pulse, life: OwnedFd) -> Self {
        Self {
            agent,
            pulse,
            instance: args.place.instance.clone(),
            state_dir: args.state_dir(),
            stays: args.stay_when_replaced,
            _life: life,
        }
    }

    /// Watches until the agent has ended; gives its exit status. `start_logging` is called before the first word.
    #[must_use]
    pub fn run(self, start_logging: impl FnOnce()) -> ExitCode {
        // The command line's parser, for one, is not needed again.
        sys::memory::forget_instructions().ok();
        let prepared = Withdrawal::prepare(self.state_dir.join("ledger"), &self.instance)
            .and_then(|withdrawal| Ok((withdrawal, signal_descriptor()?)));
        match prepared {
            Ok((withdrawal, signals)) => {
                // As for the election: where it is not allowed, the next best.
                if sys::enter_fifo(FIFO_PRIORITY).is_err() {
                    sys::raise_niceness().ok();
                }
                // What was rehearsed stays in memory. Without the right to it, it will most likely stay anyway.
                sys::memory::lock_memory().ok();
                let mut vigil = Vigil {
                    watch: self,
                    withdrawal,
                    signals,
                    told_to_end: false,
                };
                vigil.keep(start_logging)
            }
            Err(error) => {
                start_logging();
                error!(%error, "no guardian");
                // An agent that nobody cleans up after shall not begin.
                kill(self.agent, Signal::SIGKILL).ok();
                waitpid(self.agent, None).ok();
                ExitCode::FAILURE
            }
        }
    }

    /// Whether any thread of the agent has not ended: until then its lock is its own.
    fn is_agent_running(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.agent));
        let stat = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat"));
        tasks.is_ok_and(|mut tasks| {
            tasks.any(|task| task.and_then(stat).is_ok_and(|stat| is_running(&stat)))
        })
    }

    /// The lock of the ledger, if nobody has it: whoever has it sweeps by itself.
    fn claim(&self) -> Option<File> {
        let file = File::create(self.state_dir.join("lock")).ok()?;
        file.try_lock().is_ok().then_some(file)
    }
}

/// Whether a thread with this line in its `stat` can still do anything (proc_pid_stat(5), field 3).
fn is_running(stat: &str) -> bool {
    let state = stat
        .rsplit_once(')')
        .map_or("", |(_, fields)| fields.trim_start());
    !state.starts_with(['Z', 'X', 'x']) && !state.is_empty()
}

fn signal_descriptor() -> io::Result<SignalFd> {
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok(SignalFd::with_flags(&signals(), flags)?)
}

/// The guardian at work.
struct Vigil {
    watch: Watch,
    withdrawal: Withdrawal,
    signals: SignalFd,
    /// Whether a signal that ends the agent in order has been passed on.
    told_to_end: bool,
}

impl Vigil {
    fn keep(&mut self, start_logging: impl FnOnce()) -> ExitCode {
        let mut judge = Judge::default();
        loop {
            self.watch.pulse.doorbell().clear();
            if let Some(end) = self.take_signals() {
                let status = self.agent_ended(end, start_logging);
                // An agent that ends in order without being told to has left its place to another.
                if self.watch.stays && end == End::Exited(0) {
                    self.wait_to_be_told();
                }
                return status;
            }
            let next = match judge.look(clock::now(), self.watch.pulse.look()) {
                Verdict::Sleep => None,
                Verdict::LookAt(at) => Some(at),
                Verdict::Hung { silent } => {
                    if self.watch.pulse.begin_withdrawal() {
                        return self.agent_hangs(silent, start_logging);
                    }
                    // Disarmed this very moment.
                    None
                }
            };
            self.wait(next);
        }
    }

    /// Waits for a signal, the doorbell, or `until`.
    fn wait(&self, until: Option<Time>) {
        let mut sources = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.watch.pulse.doorbell().as_fd(), PollFlags::POLLIN),
        ];
        let timeout = until.map(|at| TimeSpec::from(at.since(clock::now())));
        // Whatever ends the wait, what comes next is a look around.
        ppoll(&mut sources, timeout, None).ok();
    }

    /// Passes on what came; gives the agent's end if it has ended.
    fn take_signals(&mut self) -> Option<End> {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if let Ok(signal) = Signal::try_from(number)
                && PASSED_ON.contains(&signal)
            {
                self.told_to_end |= matches!(signal, Signal::SIGTERM | Signal::SIGINT);
                // It may have ended this moment.
                kill(self.watch.agent, signal).ok();
            }
        }
        self.reap()
    }

    /// Takes the status of every child that has ended: as the first process of a container, the guardian inherits
    /// orphans.
    fn reap(&self) -> Option<End> {
        loop {
            let (pid, end) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, status)) => (pid, End::Exited(status)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Killed(signal)),
                Ok(WaitStatus::StillAlive) => return None,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => return Some(End::Unknown),
            };
            if pid == self.watch.agent {
                return Some(end);
            }
        }
    }

    /// Waits for a signal that ends; there is nobody left to pass it on to.
    fn wait_to_be_told(&mut self) {
        while !self.told_to_end {
            self.wait(None);
            while let Ok(Some(signal)) = self.signals.read_signal() {
                let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
                let signal = Signal::try_from(number);
                self.told_to_end |= matches!(signal, Ok(Signal::SIGTERM | Signal::SIGINT));
            }
            // Orphans of a container end here, too.
            while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
                waitpid(None, Some(WaitPidFlag::WNOHANG))
            {}
        }
    }

    /// Nothing of the agent runs any more.
    fn agent_ended(&mut self, end: End, start_logging: impl FnOnce()) -> ExitCode {
        if !self.watch.pulse.begin_withdrawal() {
            // It owned nothing, or another process owns it now.
            return end.status();
        }
        let begun = Instant::now();
        // Held until this process ends.
        let lock = self.watch.claim();
        let removed = match &lock {
            Some(_) => self.withdrawal.carry_out(),
            None => Removed::default(),
        };
        let took = begun.elapsed();
        if end == End::Exited(0) && removed.count == 0 && removed.failure.is_none() {
            return end.status();
        }
        start_logging();
        if lock.is_none() {
            info!("the agent ended, and another one runs already: it sweeps");
        }
        tell(&removed, took, &format!("the agent {}", end.describe()));
        end.status()
    }

    /// It is killed first: nothing else keeps it from putting its addresses back.
    fn agent_hangs(&mut self, silent: Duration, start_logging: impl FnOnce()) -> ExitCode {
        let agent = self.watch.agent;
        let begun = Instant::now();
        let killed = kill(agent, Signal::SIGKILL);
        let mut removed = self.withdrawal.carry_out();
        let took = begun.elapsed();
        // A thread of it may have been in the middle of a request; and one that a debugger holds may stay for long.
        let mut is_last = false;
        let end = loop {
            if !is_last {
                // Without the lock somebody else has it, unless the agent still runs.
                let lock = self.watch.claim();
                is_last = lock.is_some();
                if is_last || self.watch.is_agent_running() {
                    removed = removed.and(self.withdrawal.carry_out());
                }
            }
            if let Some(end) = self.reap() {
                break end;
            }
            self.wait_for_death();
        };
        let lock = self.watch.claim();
        if !is_last && lock.is_some() {
            removed = removed.and(self.withdrawal.carry_out());
        }
        // Not before: whoever should read the log may hang as well.
        start_logging();
        error!(?silent, "the election hangs: the agent is killed");
        if let Err(error) = killed {
            debug!(%error, "killing it");
        }
        tell(&removed, took, "the agent hung");
        end.status()
    }

    fn wait_for_death(&self) {
        let mut sources = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        ppoll(&mut sources, Some(TimeSpec::from(DYING)), None).ok();
        // SIGTERM need not be passed on any more.
        while let Ok(Some(_)) = self.signals.read_signal() {}
    }
}

fn tell(removed: &Removed, took: Duration, why: &str) {
    let addresses = removed.count;
    match &removed.failure {
        None => warn!(addresses, ?took, "{why}: nothing of it is left"),
        Some(error) => {
            error!(addresses, ?took, %error, "{why}: what is left stays until its lifetime ends");
        }
    }
}

impl End {
    fn status(self) -> ExitCode {
        let status = match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => BY_SIGNAL + signal as i32,
            Self::Unknown => 1,
        };
        ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1))
    }

    fn describe(self) -> String {
        match self {
            Self::Exited(status) => format!("ended with {status}"),
            Self::Killed(signal) => format!("was ended by {signal}"),
            Self::Unknown => "ended".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_until_it_is_a_zombie_or_dead() {
        for state in ["R", "S", "D", "T", "t"] {
            assert!(
                is_running(&format!("1 (a) Z) {state} 0 1 1 0 -1")),
                "{state}"
            );
        }
        for state in ["Z", "X"] {
            assert!(!is_running(&format!("1 (election) {state} 0 1")), "{state}");
        }
        assert!(!is_running(""), "it is gone");
    }

    #[test]
    fn the_agents_end_is_the_guardians() {
        let status = |end: End| format!("{:?}", end.status());
        let code = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(status(End::Exited(0)), code(0));
        assert_eq!(status(End::Exited(1)), code(1));
        assert_eq!(status(End::Killed(Signal::SIGKILL)), code(137));
        assert_eq!(status(End::Unknown), code(1));
    }
}
