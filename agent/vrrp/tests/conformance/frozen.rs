//! A frozen election: what is refused, and that a restored one is whole. That a restored one goes on exactly is
//! the simulator's to show.

use serde_json::{Value, json};
use vipkeeper_vrrp::{Election, FORMAT};

use crate::bench::{Bench, SECOND, millis, router, router_v6, story};

fn frozen() -> Value {
    let bench = Bench::active(router(200));
    serde_json::to_value(&bench.election).unwrap()
}

fn restore(frozen: &Value) -> Result<Election, String> {
    // By way of text, as between processes.
    serde_json::from_str(&frozen.to_string()).map_err(|error| error.to_string())
}

#[test]
fn x08_a_restored_active_advertises_when_the_frozen_one_would_have() {
    let mut bench = Bench::active(router(200));
    bench.advance(millis(300));
    let due = bench.timeout();
    bench.election = restore(&serde_json::to_value(&bench.election).unwrap()).unwrap();
    assert_eq!(bench.timeout(), due);
    assert_eq!(story(&bench.advance(SECOND)), ["send 200"]);
}

#[test]
fn x08_a_restored_backup_goes_on_waiting_for_the_same_moment() {
    let mut bench = Bench::new(&[router(100), router_v6(100)]);
    bench.advance(millis(1_700));
    let before = (bench.timeout(), bench.status());
    bench.election = restore(&serde_json::to_value(&bench.election).unwrap()).unwrap();
    assert_eq!((bench.timeout(), bench.status()), before);
}

#[test]
fn x08_a_plan_that_changes_nothing_does_nothing_to_a_restored_election() {
    let mut bench = Bench::active(router(200));
    bench.election = restore(&serde_json::to_value(&bench.election).unwrap()).unwrap();
    assert_eq!(story(&bench.apply(&[router(200)])), [""; 0]);
}

#[test]
fn x08_another_format_is_refused_before_anything_else_of_it_is_read() {
    let mut later = frozen();
    later["format"] = json!(FORMAT + 1);
    later["routers"] = json!("of a later version");
    let error = restore(&later).unwrap_err();
    assert!(
        error.starts_with(&format!(
            "a frozen election of format {}, not {FORMAT}",
            FORMAT + 1
        )),
        "{error}"
    );
}

#[test]
fn x08_what_is_missing_or_unknown_is_refused() {
    let whole = frozen();
    assert!(restore(&whole).is_ok());
    let fields: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
    for field in fields {
        let mut lacking = whole.clone();
        lacking.as_object_mut().unwrap().remove(&field);
        assert!(restore(&lacking).is_err(), "without {field}");
    }
    let mut unknown = whole.clone();
    unknown["routers"][0]["ambition"] = json!(3);
    assert!(restore(&unknown).is_err());
}
