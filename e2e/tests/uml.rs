//! The uml rung: real daemons and real traffic on a kernel that has IPVS, each test in a guest of its own. Needs root.
//!
//! What netns tests beside keepalived is tested again beside the guest's newer one.

use std::process::ExitCode;

use vipkeeper_e2e::uml;

#[path = "uml/agent.rs"]
mod agent;
#[path = "uml/checkers.rs"]
mod checkers;
#[path = "uml/checksum.rs"]
mod checksum;
#[path = "uml/directors.rs"]
mod directors;
#[path = "uml/distribution.rs"]
mod distribution;
#[path = "uml/ending.rs"]
mod ending;
#[path = "uml/forwarding.rs"]
mod forwarding;
#[path = "uml/guest.rs"]
mod guest;
#[path = "uml/health.rs"]
mod health;
#[path = "netns/interop.rs"]
mod interop;
#[path = "netns/machine.rs"]
mod machine;
#[path = "uml/marks.rs"]
mod marks;
#[path = "uml/methods.rs"]
mod methods;
#[path = "uml/nftables.rs"]
mod nftables;
#[path = "uml/path_mtu.rs"]
mod path_mtu;
#[path = "uml/peer.rs"]
mod peer;
#[path = "uml/prepare.rs"]
mod prepare;
#[expect(dead_code, reason = "what netns needs of it")]
#[path = "netns/scene.rs"]
mod scene;
#[path = "uml/sctp.rs"]
mod sctp;
#[path = "uml/settings.rs"]
mod settings;
#[path = "uml/survival.rs"]
mod survival;
#[path = "uml/table.rs"]
mod table;
#[path = "uml/thresholds.rs"]
mod thresholds;

fn main() -> ExitCode {
    let tests = [
        guest::TESTS,
        agent::TESTS,
        forwarding::TESTS,
        nftables::TESTS,
        interop::TESTS,
        checksum::TESTS,
        methods::TESTS,
        marks::TESTS,
        sctp::TESTS,
        distribution::TESTS,
        health::TESTS,
        path_mtu::TESTS,
        peer::TESTS,
        settings::TESTS,
        survival::TESTS,
        table::TESTS,
        prepare::TESTS,
        thresholds::TESTS,
    ];
    uml::main(ending::TESTS, &tests.concat())
}
