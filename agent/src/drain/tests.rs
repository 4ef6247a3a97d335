use super::*;
use crate::scratch::Directory;

/// Routers with these names and priorities.
fn configs(routers: &[(&str, u8)]) -> Vec<NodeConfigSpec> {
    let base = crate::plan::tests::config("web", "192.0.2.100");
    let named = routers.iter().map(|&(name, priority)| NodeConfigSpec {
        router: name.to_owned(),
        priority,
        ..base.clone()
    });
    named.collect()
}

fn failover(name: &str) -> Request {
    Request::Failover(Some(name.to_owned()))
}

fn undrain(name: &str) -> Request {
    Request::Undrain(Some(name.to_owned()))
}

async fn refusal(drains: &Drains, request: &Request, configs: &[NodeConfigSpec]) -> String {
    drains.ask(request, configs).await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_is_drained_is_drained_after_a_restart_until_it_is_undone() {
    let directory = Directory::new();
    let configs = configs(&[("web", 200), ("db", 200)]);
    let drains = Drains::open(directory.path());
    drains.ask(&failover("web"), &configs).await.unwrap();
    let drains = Drains::open(directory.path());
    let drained = drains.watch().borrow().clone();
    assert!(drained.includes("web") && !drained.includes("db"));
    drains.ask(&Request::Drain, &configs).await.unwrap();
    let drains = Drains::open(directory.path());
    assert!(drains.watch().borrow().includes("db"));
    drains.ask(&Request::Undrain(None), &configs).await.unwrap();
    let drains = Drains::open(directory.path());
    assert_eq!(**drains.watch().borrow(), Drained::default());
}

#[tokio::test]
async fn a_failover_is_undone_by_itself_and_a_drain_only_as_a_whole() {
    let directory = Directory::new();
    let configs = configs(&[("web", 200), ("db", 200)]);
    let drains = Drains::open(directory.path());
    let said = refusal(&drains, &undrain("web"), &configs).await;
    assert_eq!(said, "router `web` is not drained");
    drains.ask(&failover("web"), &configs).await.unwrap();
    drains.ask(&undrain("web"), &configs).await.unwrap();
    assert!(!drains.watch().borrow().includes("web"));
    drains.ask(&Request::Drain, &configs).await.unwrap();
    let said = refusal(&drains, &undrain("web"), &configs).await;
    assert!(said.contains("the whole node is drained"), "{said}");
}

#[tokio::test]
async fn a_router_that_is_not_there_or_not_named_is_refused_with_those_that_are() {
    let directory = Directory::new();
    let drains = Drains::open(directory.path());
    let two = configs(&[("web", 200), ("db", 200)]);
    let said = refusal(&drains, &failover("wbe"), &two).await;
    assert_eq!(
        said,
        "no router `wbe` runs on this node; there is `web`, `db`"
    );
    let said = refusal(&drains, &Request::Failover(None), &two).await;
    assert_eq!(said, "which router? There is `web`, `db`");
    let said = refusal(&drains, &Request::Failover(None), &[]).await;
    assert_eq!(said, "which router? There is none");
    drains
        .ask(&Request::Failover(None), &two[..1])
        .await
        .unwrap();
    assert!(drains.watch().borrow().includes("web"));
}

#[tokio::test]
async fn the_address_owner_cannot_give_its_addresses_away() {
    let directory = Directory::new();
    let drains = Drains::open(directory.path());
    let configs = configs(&[("web", 255), ("db", 254)]);
    let said = refusal(&drains, &failover("web"), &configs).await;
    assert!(said.contains("priority 255"), "{said}");
    let answer = drains.ask(&Request::Drain, &configs).await.unwrap();
    assert!(
        answer.contains("web: stays") && !answer.contains("db:"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_cannot_be_written_is_not_promised() {
    let directory = Directory::new();
    let gone = directory.path().join("gone");
    let drains = Drains::open(&gone);
    let configs = configs(&[("web", 200)]);
    let said = refusal(&drains, &Request::Drain, &configs).await;
    assert!(said.contains("gone/drained"), "{said}");
    assert_eq!(**drains.watch().borrow(), Drained::default());
}

#[test]
fn a_file_that_is_no_wish_drains_nothing() {
    let directory = Directory::new();
    for text in [
        "",
        "{}",
        "{\"node\":1}",
        "\0",
        "{\"node\":true,\"routers\":[],\"more\":1}",
    ] {
        fs::write(directory.path().join(FILE), text).unwrap();
        let drains = Drains::open(directory.path());
        assert_eq!(**drains.watch().borrow(), Drained::default(), "{text}");
    }
}

#[test]
fn the_way_back_is_that_of_what_was_asked() {
    let mut drained = Drained::default();
    drained.routers.insert("web".to_owned());
    assert_eq!(drained.way_back("web"), "vipkeeper-agent undrain web");
    drained.node = true;
    assert_eq!(drained.way_back("web"), "vipkeeper-agent undrain");
}
