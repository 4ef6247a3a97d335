//! Examinations of small installations.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::tests::{at, condition, own_config, server, three};

fn lease(renewed: i64) -> Lease {
    let renewed = Timestamp::from_second(1_800_000_000 + renewed).unwrap();
    serde_json::from_value(json!({"spec": {
        "holderIdentity": "op-1", "leaseDurationSeconds": 15,
        "renewTime": format!("{renewed:.6}"),
    }}))
    .unwrap()
}

fn inventory(version: &str, checks: Value) -> Value {
    json!({
        "agent": {"version": version, "features": vipkeeper_crds::features::ALL},
        "kernel": {"release": "6.12.0"}, "checks": checks,
    })
}

fn patient() -> Patient {
    let mut objects = three("a", json!({}));
    objects.configs.retain(|c| c.spec.router.is_some());
    let checks = json!([{"name": "Kernel", "status": "Pass", "message": "6.12.0"}]);
    for name in ["a", "b", "c"] {
        objects
            .configs
            .push(own_config(name, inventory("0.1.0", checks.clone())));
    }
    Patient {
        missing: Ok(Vec::new()),
        lease: Ok(Some(lease(-2))),
        namespace: "vipkeeper-system".to_owned(),
        objects,
        servers: Ok(Vec::new()),
    }
}

fn said(patient: &Patient) -> (Outcome, String) {
    let report = examination::examine(patient, &at(0));
    (outcome(&report), text(&report, false))
}

#[test]
fn a_healthy_installation_has_nothing_below_its_table() {
    let expected = "Definitions: Pass: installed
Operator: Pass: op-1 leads, its Lease was renewed 2s ago

NODE   AGENT   KERNEL   CHECKS
a      0.1.0   6.12.0   3 pass
b      0.1.0   6.12.0   3 pass
c      0.1.0   6.12.0   3 pass
";
    assert_eq!(said(&patient()), (Outcome::Good, expected.to_owned()));
}

#[test]
fn what_is_well_is_said_if_asked_for() {
    let report = examination::examine(&patient(), &at(0));
    let said = text(&report, true);
    assert!(said.contains("\nPass: node a: Kernel: 6.12.0\n"), "{said}");
    assert!(
        said.contains("\nPass: node c: AgentVersion: 0.1.0\n"),
        "{said}"
    );
}

#[test]
fn what_an_agent_finds_is_said_failures_first() {
    let mut patient = patient();
    let checks = json!([
        {"name": "RealTime", "status": "Warning", "message": "not scheduled"},
        {"name": "Capabilities", "status": "Failure", "message": "NET_RAW missing"},
    ]);
    patient
        .objects
        .configs
        .retain(|c| c.spec.node_name != "b" || c.spec.router.is_some());
    patient
        .objects
        .configs
        .push(own_config("b", inventory("0.1.0", checks)));
    let (outcome, said) = said(&patient);
    assert_eq!(outcome, Outcome::Bad);
    assert!(said.contains("2 pass, 1 warning, 1 failure"), "{said}");
    assert!(
        said.ends_with("\nFailure: node b: Capabilities: NET_RAW missing\nWarning: node b: RealTime: not scheduled\n"),
        "{said}"
    );
}

#[test]
fn an_older_agent_and_one_that_cannot_do_what_is_needed_are_said() {
    let mut patient = patient();
    let own = |c: &&mut vipkeeper_crds::NodeConfig| c.spec.router.is_none();
    let agent = |c: &mut vipkeeper_crds::NodeConfig| {
        let status = c.status.as_mut().unwrap();
        status.inventory.as_mut().unwrap().agent.version = "0.10.0".to_owned();
    };
    patient
        .objects
        .configs
        .iter_mut()
        .filter(own)
        .skip(1)
        .for_each(agent);
    let features = &mut patient.objects.configs.iter_mut().find(own).unwrap().status;
    features
        .as_mut()
        .unwrap()
        .inventory
        .as_mut()
        .unwrap()
        .agent
        .features
        .clear();
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Good, "nothing of it is in use: {text}");
    assert!(
        text.contains("Warning: node a: AgentVersion: version 0.1.0, and other agents have 0.10.0"),
        "{text}"
    );
    assert!(
        text.contains("Warning: node a: Features: cannot do "),
        "{text}"
    );
}

#[test]
fn a_node_that_nobody_reports_from_matters_if_it_is_a_candidate() {
    let mut patient = patient();
    patient
        .objects
        .configs
        .retain(|c| c.spec.node_name != "b" || c.spec.router.is_some());
    patient.objects.configs.retain(|c| c.spec.node_name != "c");
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Bad);
    assert!(
        text.contains(
            "Failure: node b: Agent: no agent reports from there, and it is a candidate of web"
        ),
        "{text}"
    );
    assert!(
        text.contains("Warning: node c: Agent: no agent reports"),
        "{text}"
    );
}

#[test]
fn an_operator_that_does_not_renew_its_lease_does_not_run() {
    let mut patient = patient();
    patient.lease = Ok(Some(lease(-300)));
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Bad);
    assert!(
        text.contains("Operator: Failure: op-1 renewed its Lease 5m ago, which lasts 15s"),
        "{text}"
    );
    patient.lease = Ok(None);
    assert!(
        said(&patient)
            .1
            .contains("there is no Lease vipkeeper-operator")
    );
    patient.lease = Ok(Some(Lease::default()));
    assert!(said(&patient).1.contains("nobody holds the Lease"));
    patient.lease = Err("you may not get leases".to_owned());
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Good);
    assert!(text.contains("Operator: Warning: you may not"), "{text}");
}

#[test]
fn missing_definitions_say_how_to_install_them() {
    let mut patient = patient();
    patient.missing = Ok(vec!["settings.vipkeeper.io"]);
    patient.objects = Objects::default();
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Bad);
    assert!(
        text.contains("Definitions: Failure: settings.vipkeeper.io missing: install"),
        "{text}"
    );
}

#[test]
fn a_router_without_holder_is_a_failure_and_a_refused_peer_a_warning() {
    let mut patient = patient();
    for (kind, reason) in [("PeerRejected", "TtlTooLow"), ("NoActive", "NobodyActive")] {
        let condition = json!({"type": kind, "status": "True", "reason": reason, "message": "said",
            "lastTransitionTime": "2027-01-15T08:00:00Z"});
        let status = patient.objects.routers[0].status.as_mut().unwrap();
        status
            .conditions
            .push(serde_json::from_value(condition).unwrap());
    }
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Bad);
    assert!(
        text.ends_with("Failure: VirtualRouter web: NoActive is True (NobodyActive): said\nWarning: VirtualRouter web: PeerRejected is True (TtlTooLow): said\n"),
        "{text}"
    );
}

#[test]
fn a_definition_that_older_charts_lack_is_missed_alone() {
    let mut patient = patient();
    patient.missing = Ok(vec![SERVERS]);
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Bad);
    assert!(
        text.contains("Failure: virtualservers.vipkeeper.io missing: install"),
        "{text}"
    );
    assert!(text.contains("\na      0.1.0"), "{text}");
}

/// shop/`name` with this condition and no other.
fn having(name: &str, condition: Value) -> VirtualServer {
    server(
        name,
        json!({"status": {"observedGeneration": 1, "conditions": [condition]}}),
    )
}

#[test]
fn a_virtual_server_that_is_refused_or_serves_nobody_is_a_failure() {
    let mut patient = patient();
    patient.servers = Ok(vec![
        having("one", condition("Accepted", "False", "NotAllowed")),
        having("two", condition("QuorumLost", "True", "SorryServing")),
        having("three", condition("Degraded", "True", "ServiceMissing")),
    ]);
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Bad);
    assert!(
        text.ends_with(
            "Failure: VirtualServer shop/one: Accepted is False (NotAllowed): because
Failure: VirtualServer shop/two: QuorumLost is True (SorryServing): because
Warning: VirtualServer shop/three: Degraded is True (ServiceMissing): because
"
        ),
        "{text}"
    );
}

/// What `node` says of shop/`name`, which lacks something.
fn lacking(name: &str, programmed: bool, reason: &str) -> Value {
    json!({"namespace": "shop", "name": name, "programmed": programmed, "quorum": true,
        "conditions": [condition("Degraded", "True", reason)]})
}

#[test]
fn what_a_kernel_lacks_is_said_of_the_node_once_with_whom_it_concerns() {
    let mut patient = patient();
    let of_server = condition("Degraded", "True", "SettingMissing");
    patient.servers = Ok(vec![having("one", of_server)]);
    let told = [
        json!([
            lacking("one", true, "SettingMissing"),
            lacking("two", true, "SettingMissing")
        ]),
        json!([lacking("one", false, "IPVSMissing")]),
    ];
    for (config, servers) in patient.objects.configs.iter_mut().zip(told) {
        let servers = serde_json::from_value(servers).unwrap();
        config.status.as_mut().unwrap().servers = servers;
    }
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Bad);
    assert!(
        text.ends_with(
            "
Failure: node b: IPVSMissing: because (for shop/one)
Warning: node a: SettingMissing: because (for shop/one and 1 other VirtualServer)
"
        ),
        "{text}"
    );
    assert!(!text.contains("VirtualServer shop/one"), "{text}");
}

#[test]
fn who_may_not_list_virtual_servers_is_told_and_the_rest_goes_on() {
    let mut patient = patient();
    patient.servers = Err("you may not list virtualservers".to_owned());
    let (outcome, text) = said(&patient);
    assert_eq!(outcome, Outcome::Good);
    assert!(
        text.contains("VirtualServers: Warning: you may not"),
        "{text}"
    );
}
