use super::*;
use crate::state::tests::state;

#[test]
fn a_table_has_a_line_for_each_router_and_each_finding() {
    let expected = "\
ROUTER  FAMILY  VRID  INTERFACE  STATE       PRIORITY   ADDRESSES       SINCE                     REASON            LAST ADVERTISEMENT
web     IPv4    51    eth0       Active      180 (200)  192.0.2.100 +1  2026-11-23T05:59:10.000Z  NoResponse        -
db      IPv4    51    -          Initialize  200        192.0.2.7       2026-11-23T05:59:10.000Z  InterfaceMissing  192.0.2.1 (254) 73 ms ago
warning: web IPv4: SplitBrain with 192.0.2.3 by Heartbeat since 2026-11-23T05:59:55.000Z

SERVER        ROUTER  SERVICE             READY  KERNEL  ACTIVE  CONNECTIONS
default/shop  web     TCP 192.0.2.100:80  1/2    wlc     3       40
note: default/shop TCP 192.0.2.100:80: 10.0.0.2:8080 is out: HTTP: status 503
warning: web IPv4: 192.0.2.101 could not be installed; the log says why
note: web IPv4: advertisements refused or odd: Checksum 3
warning: web.yaml:4:7: spec.nodes: two nodes have the same priority
note: eth0: VRID 9 IPv4 is advertised by 192.0.2.9, and not configured here (2000 ms ago)
";
    assert_eq!(table(&state()), expected);
}

#[test]
fn what_keeps_the_election_from_real_time_is_said() {
    let mut state = state();
    state.realtime.reason = Some("SCHED_FIFO: no".to_owned());
    assert!(table(&state).ends_with("note: not in real time: SCHED_FIFO: no\n"));
}

#[test]
fn an_agent_that_serves_nothing_says_so() {
    let mut state = state();
    state.routers.clear();
    state.servers.clear();
    state.findings.clear();
    state.foreign.clear();
    (state.ready, state.health.alive) = (false, false);
    let text = table(&state);
    let notes = text.split_once('\n').unwrap().1;
    let expected = "\
error: the election does not tick
warning: no verified configuration is served yet
note: no router runs on this node
";
    assert_eq!(notes, expected);
}

#[test]
fn without_an_agent_there_is_an_error_that_names_the_socket() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let directory = crate::scratch::Directory::new();
    let socket = directory.path().join("agent.sock");
    let error = runtime.block_on(fetch(&socket, "/state")).unwrap_err();
    assert!(error.to_string().contains("agent.sock"), "{error}");
}
