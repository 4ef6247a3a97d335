//! What goes on as it was: over edits, and from one process to the next.

use std::slice;

use serde_json::json;

use super::*;

#[test]
fn a_server_keeps_its_verdicts_when_it_is_edited() {
    let server = web(|_| {});
    let mut world = World::new(slice::from_ref(&server));
    world.judge_all(&server, true);
    world.judge(&server, "10.0.0.2:8080", false);
    world.configure(&[web(|s| {
        s["scheduler"] = json!({"name": "mh", "fallback": true})
    })]);
    assert_eq!(world.weights(), ".1=1 .3=1");
    let table = world.model.table();
    let entry = table.services().values().next().unwrap();
    assert_eq!(entry.service().scheduler.as_str(), "mh");
    assert!(entry.service().flags.scheduler_1 && !entry.service().flags.scheduler_2);
}

#[test]
fn an_edited_probe_is_no_failure() {
    let server = web(|s| s["quorum"]["weight"] = json!(2));
    let second = |s: &mut Value| {
        let mut other = s["probes"][0].clone();
        other["name"] = json!("other");
        other["port"] = json!(9);
        s["probes"].as_array_mut().unwrap().push(other);
    };
    for edit in [
        &(|s: &mut Value| s["probes"][0]["timeout"] = json!("2s")) as &dyn Fn(&mut Value),
        &second,
    ] {
        let mut world = World::new(slice::from_ref(&server));
        world.judge_all(&server, true);
        world.judge(&server, "10.0.0.2:8080", false);
        let edited = web(edit);
        world.configure(slice::from_ref(&edited));
        assert_eq!(world.weights(), ".1=1 .3=1", "as they were judged before");
        world.judge_all(&edited, false);
        assert_eq!(world.weights(), "", "and judged anew");
        world.judge_all(&edited, true);
        assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
    }
    // The first probe of those that had none, too.
    let mut world = World::new(&[unprobed(|_| {})]);
    world.configure(slice::from_ref(&server));
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
}

#[test]
fn what_was_up_before_this_process_is_down_after_an_edit_if_it_failed() {
    let server = web(|_| {});
    let mut before = World::new(slice::from_ref(&server));
    before.judge_all(&server, true);
    let mut world = before.successor();
    world.configure(slice::from_ref(&server));
    world.judge(&server, "10.0.0.1:8080", false);
    world.configure(&[web(|s| s["probes"][0]["timeout"] = json!("2s"))]);
    assert_eq!(world.weights(), ".2=1 .3=1");
}

#[test]
fn what_the_kernel_has_counts_until_the_first_judgement() {
    let server = web(|_| {});
    let mut before = World::new(slice::from_ref(&server));
    before.judge_all(&server, true);
    before.judge(&server, "10.0.0.3:8080", false);
    let mut world = before.successor();
    world.configure(slice::from_ref(&server));
    assert_eq!(world.weights(), ".1=1 .2=1", "as it was");
    world.judge(&server, "10.0.0.1:8080", false);
    assert_eq!(world.weights(), ".2=1");
}

#[test]
fn who_leaves_goes_on_leaving_after_a_restart() {
    let without_third = unprobed(|s| {
        s["members"]["realServers"].as_array_mut().unwrap().pop();
    });
    let both = World::new(&[unprobed(|_| {})]);
    let mut leaving = World::new(&[unprobed(|_| {})]);
    leaving.configure(slice::from_ref(&without_third));
    for before in [leaving, both] {
        let mut world = before.successor();
        world.configure(slice::from_ref(&without_third));
        assert_eq!(world.weights(), ".1=1 .2=1 .3=0", "its connections live");
        world.wait(2);
        world.observe(0);
        assert_eq!(world.weights(), ".1=1 .2=1");
        world.configure(slice::from_ref(&without_third));
        assert_eq!(world.weights(), ".1=1 .2=1");
    }
}

#[test]
fn a_quorum_outlives_the_process() {
    let server = web(|s| {
        s["sorry"] = json!({"address": "10.0.0.9", "port": 80});
        s["quorum"] = json!({"weight": 2, "hysteresis": 1, "sorry": true});
    });
    // One of three is enough for a quorum that was there, and too few for one that was lost.
    let mut quorate = World::new(slice::from_ref(&server));
    quorate.judge_all(&server, true);
    quorate.judge(&server, "10.0.0.1:8080", false);
    quorate.judge(&server, "10.0.0.2:8080", false);
    let mut world = quorate.successor();
    world.configure(slice::from_ref(&server));
    world.judge(&server, "10.0.0.1:8080", false);
    world.judge(&server, "10.0.0.2:8080", false);
    assert_eq!(world.weights(), ".3=1");

    let mut lost = World::new(slice::from_ref(&server));
    lost.judge_all(&server, false);
    let mut world = lost.successor();
    world.configure(slice::from_ref(&server));
    assert_eq!(world.weights(), ".9:80=1", "before anybody is judged");
    world.judge(&server, "10.0.0.1:8080", true);
    world.judge(&server, "10.0.0.2:8080", true);
    assert_eq!(world.weights(), ".1=0 .2=0 .9:80=1");
    world.judge(&server, "10.0.0.3:8080", true);
    assert_eq!(world.weights(), ".1=1 .2=1 .3=1");
}
