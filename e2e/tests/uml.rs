//! The uml rung: real daemons and real traffic on a kernel that has IPVS, each test in a guest of its own. Needs root.
//!
//! What netns tests beside keepalived is tested again beside the guest's newer one.

use std::process::ExitCode;

use vipkeeper_e2e::uml;

#[path = "uml/checksum.rs"]
mod checksum;
#[path = "uml/ending.rs"]
mod ending;
#[path = "uml/forwarding.rs"]
mod forwarding;
#[path = "uml/guest.rs"]
mod guest;
#[path = "netns/interop.rs"]
mod interop;
#[path = "netns/machine.rs"]
mod machine;
#[path = "uml/nftables.rs"]
mod nftables;
#[expect(dead_code, reason = "what netns needs of it")]
#[path = "netns/scene.rs"]
mod scene;

fn main() -> ExitCode {
    let tests = [
        guest::TESTS,
        forwarding::TESTS,
        nftables::TESTS,
        interop::TESTS,
        checksum::TESTS,
    ];
    uml::main(ending::TESTS, &tests.concat())
}
