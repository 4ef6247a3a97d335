//! File and Exec.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::*;
use crate::scratch::Directory;

fn file(path: &Path, dynamic_weight: bool) -> Value {
    json!({"type": "File", "path": path, "dynamicWeight": dynamic_weight})
}

fn anywhere() -> SocketAddr {
    ([192, 0, 2, 1], 80).into()
}

#[tokio::test]
async fn a_file_is_good_while_it_is_there_and_does_not_say_down() {
    let directory = Directory::new();
    let path = directory.path().join("web");
    assert_eq!(
        ask(file(&path, false), anywhere()).await,
        "File: the file is not there"
    );
    std::fs::write(&path, "up\n").unwrap();
    assert_eq!(ask(file(&path, false), anywhere()).await, "ok");
    std::fs::write(&path, "17\n").unwrap();
    assert_eq!(ask(file(&path, true), anywhere()).await, "ok 17");
    std::fs::write(&path, "down\n").unwrap();
    assert_eq!(
        ask(file(&path, true), anywhere()).await,
        "File: the file says down"
    );
}

#[tokio::test]
async fn what_is_no_file_is_not_read_and_does_not_block() {
    let directory = Directory::new();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let said = "File: the file is no regular file";
    assert_eq!(ask(file(&pipe, false), anywhere()).await, said);
    assert_eq!(ask(file(directory.path(), false), anywhere()).await, said);
    assert_eq!(
        ask(file(Path::new("/dev/zero"), false), anywhere()).await,
        said
    );
}

/// A directory with the script `check`.
struct Script(Directory);

impl Script {
    fn new(text: &str) -> Self {
        let directory = Directory::new();
        // Written by another process: one that other tests start while we write would keep the file busy.
        let status = Command::new("sh")
            .args([
                "-c",
                r#"printf '%s' "$1" >"$2" && chmod 755 "$2""#,
                "sh",
                text,
            ])
            .arg(directory.path().join("check"))
            .status();
        assert!(status.unwrap().success());
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn ask(&self, dynamic_weight: bool, timeout: Duration) -> String {
        let kind = json!({"type": "Exec", "script": "check", "dynamicWeight": dynamic_weight});
        let mut probe = probe(kind);
        probe.timeout = vipkeeper_crds::Duration::from_millis(timeout.as_millis() as u64);
        words(&probe, anywhere(), self.0.path()).await
    }
}

#[tokio::test]
async fn a_script_says_health_or_weight_by_its_exit_code() {
    for (script, plain, weighing) in [
        ("exit 0", "ok", "ok"),
        ("exit 1", "Exec: exit code 1", "Exec: exit code 1"),
        ("exit 12", "Exec: exit code 12", "ok 10"),
        (
            "kill -9 $$",
            "Exec: killed by signal 9",
            "Exec: killed by signal 9",
        ),
    ] {
        let script = Script::new(&format!("#!/bin/sh\n{script}\n"));
        assert_eq!(script.ask(false, LONG).await, plain);
        assert_eq!(script.ask(true, LONG).await, weighing);
    }
}

#[tokio::test]
async fn a_script_is_told_whom_it_judges_and_nothing_else() {
    let script = Script::new(
        "#!/bin/sh\n[ \"$*\" = '192.0.2.1 80' ] || exit 2\n[ \"$(pwd)\" = / ] || exit 3\n\
         [ -z \"$CARGO_PKG_NAME$HOME\" ] || exit 4\nread -r line && exit 5\n\
         head -c 1000000 /dev/zero || exit 6\nexit 0\n",
    );
    assert_eq!(script.ask(false, LONG).await, "ok");
}

#[tokio::test]
async fn a_script_of_root_runs_as_nobody() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let script = Script::new(
        "#!/bin/sh\n[ \"$(id -u) $(id -g) $(id -G)\" = '65534 65534 65534' ] || exit 2\nexit 0\n",
    );
    assert_eq!(script.ask(false, LONG).await, "ok");
}

#[tokio::test]
async fn a_script_that_hangs_is_killed_with_all_that_it_started() {
    let script = Script::new("#!/bin/sh\nsleep 1000 &\nsleep 1000\n");
    // The script's children have its name nowhere; its group is found by the script's path.
    let began = Instant::now();
    let kind = json!({"type": "Exec", "script": "check", "dynamicWeight": false});
    let mut probe = probe(kind);
    probe.timeout = vipkeeper_crds::Duration::from_millis(400);
    let path = script.path("check");
    let asked = words(&probe, anywhere(), script.0.path());
    let group = async {
        let path = path.to_str().unwrap();
        until(|| group_of(path).filter(|group| members(*group) == 3)).await
    };
    let (said, group) = tokio::join!(asked, group);
    assert_eq!(said, "Exec: not done in 400ms");
    assert!(began.elapsed() < Duration::from_millis(400) + ROOM);
    until(|| (members(group) == 0).then_some(())).await;
}

#[tokio::test]
async fn what_a_script_leaves_behind_is_killed() {
    let sleep = format!("1000.{}", std::process::id());
    let script = Script::new(&format!(
        "#!/bin/sh\nsleep {sleep} &\nuntil grep -q {sleep} /proc/$!/cmdline; do :; done\nexit 0\n"
    ));
    assert_eq!(script.ask(false, LONG).await, "ok");
    let sleeps = |(_, state, line): (_, char, String)| state != 'Z' && line.contains(&sleep);
    until(|| (!processes().any(sleeps)).then_some(())).await;
}

#[tokio::test]
async fn a_script_that_cannot_be_run_says_so() {
    let script = Script::new("#!/bin/sh\nexit 0\n");
    std::fs::remove_file(script.path("check")).unwrap();
    assert_eq!(
        script.ask(false, LONG).await,
        "Exec: the script is not there"
    );
    std::fs::write(script.path("check"), "#!/bin/sh\n").unwrap();
    assert_eq!(
        script.ask(false, LONG).await,
        "Exec: the script may not be run"
    );
}

/// Waits for `what`, at most ten seconds.
async fn until<T>(what: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(Instant::now() < deadline, "it does not come");
        tokio::task::yield_now().await;
    }
}

/// Processes as group, state and command line.
fn processes() -> impl Iterator<Item = (i32, char, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        Some((group, state, line))
    })
}

fn group_of(path: &str) -> Option<i32> {
    processes()
        .find(|(_, _, line)| line.contains(path))
        .map(|(group, ..)| group)
}

/// How many of a group live; one that is only to be waited for does not.
fn members(group: i32) -> usize {
    processes()
        .filter(|(of, state, _)| *of == group && *state != 'Z')
        .count()
}
