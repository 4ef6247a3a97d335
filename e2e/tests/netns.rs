//! The netns rung: real daemons on the real kernel, in network namespaces. Needs root.

use std::process::ExitCode;

use vipkeeper_e2e::harness;

#[path = "netns/addresses.rs"]
mod addresses;
#[path = "netns/container.rs"]
mod container;
#[path = "netns/failover.rs"]
mod failover;
#[path = "netns/guardian.rs"]
mod guardian;
#[path = "netns/handover.rs"]
mod handover;
#[path = "netns/hostile.rs"]
mod hostile;
#[path = "netns/interfaces.rs"]
mod interfaces;
#[path = "netns/interop.rs"]
mod interop;
#[path = "netns/lab.rs"]
mod lab;
#[path = "netns/machine.rs"]
mod machine;
#[path = "netns/manifests.rs"]
mod manifests;
#[path = "netns/many.rs"]
mod many;
#[path = "netns/nftables.rs"]
mod nftables;
#[path = "netns/objects.rs"]
mod objects;
#[path = "netns/observability.rs"]
mod observability;
#[path = "netns/owner.rs"]
mod owner;
#[path = "netns/parked.rs"]
mod parked;
#[path = "netns/reconfigure.rs"]
mod reconfigure;
#[path = "netns/refusal.rs"]
mod refusal;
#[path = "netns/repair.rs"]
mod repair;
#[path = "netns/scene.rs"]
mod scene;
#[path = "netns/split_brain.rs"]
mod split_brain;
#[path = "netns/sync.rs"]
mod sync;
#[path = "netns/takeover.rs"]
mod takeover;
#[path = "netns/takeover_faults.rs"]
mod takeover_faults;
#[path = "netns/wire.rs"]
mod wire;

fn main() -> ExitCode {
    let tests = [
        lab::TESTS,
        wire::TESTS,
        addresses::TESTS,
        container::TESTS,
        interfaces::TESTS,
        manifests::TESTS,
        interop::TESTS,
        refusal::TESTS,
        failover::TESTS,
        handover::TESTS,
        hostile::TESTS,
        nftables::TESTS,
        objects::TESTS,
        observability::TESTS,
        takeover::TESTS,
        many::TESTS,
        takeover_faults::TESTS,
        repair::TESTS,
        owner::TESTS,
        reconfigure::TESTS,
        guardian::TESTS,
        parked::TESTS,
        split_brain::TESTS,
        sync::TESTS,
    ];
    harness::main("netns", &tests.concat())
}
