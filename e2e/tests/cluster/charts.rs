//! The charts: what is rendered from them, what they refuse, and what Helm makes of them in a real cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use vipkeeper_crds::{NodeConfig, VirtualRouter};
use vipkeeper_e2e::cluster::api::CONFIGS;
use vipkeeper_e2e::cluster::{NAMESPACE, chart};
use vipkeeper_e2e::harness::Skip;
use vipkeeper_e2e::wait::{self, Seen};
use vipkeeper_e2e::{Cluster, program};

use crate::scene::{self, SOON, VIP};

vipkeeper_e2e::tests! {
    beside what_is_rendered_from_the_charts_is_what_is_committed,
    beside helm_finds_nothing_wrong_with_the_charts,
    beside a_value_that_is_not_there_is_refused_with_its_name,
    beside every_value_has_its_default_written_down,
    beside nothing_is_privileged_but_the_init_container_that_was_asked_for,
    beside everything_that_can_be_rendered_is_accepted_as_it_is,
    beside install_yaml_alone_installs,
    beside an_upgrade_changes_what_it_says_and_a_rollback_takes_it_back,
    beside a_second_installation_is_refused,
    beside after_an_uninstallation_another_one_takes_up_what_the_user_has,
    beside an_uninstallation_may_take_the_users_objects_along,
}

/// What the tree has below `path`.
fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// helm without a cluster: whether it succeeded, and what it said.
fn helm(arguments: &[&str]) -> Result<(bool, String)> {
    let programs = program::kubernetes().map_err(|error| Skip::because(error.to_string()))?;
    let output = Command::new(programs.join("helm"))
        .args(arguments)
        .env("KUBECONFIG", "/dev/null")
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8(said)?))
}

fn what_is_rendered_from_the_charts_is_what_is_committed() -> Result<()> {
    let programs = program::kubernetes().map_err(|error| Skip::because(error.to_string()))?;
    let fresh = std::env::temp_dir().join(format!("vk-charts-{}", std::process::id()));
    let output = Command::new(tree("scripts/charts"))
        .arg(&fresh)
        .env("VIPKEEPER_KUBERNETES", programs)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    let files = [
        "deploy/install.yaml",
        "charts/vipkeeper/tests/default.yaml",
        "charts/vipkeeper/tests/edge.yaml",
        "charts/vipkeeper/tests/everything.yaml",
    ];
    let is_same = |file: &&str| fs::read(fresh.join(file)).ok() == fs::read(tree(file)).ok();
    let other: Vec<_> = files.iter().filter(|file| !is_same(file)).collect();
    fs::remove_dir_all(&fresh)?;
    ensure!(
        other.is_empty(),
        "{other:?}: not what the charts render now; run `make charts` and commit"
    );
    Ok(())
}

fn helm_finds_nothing_wrong_with_the_charts() -> Result<()> {
    for name in ["vipkeeper-crds", "vipkeeper"] {
        let (fine, said) = helm(&["lint", "--strict", &chart(name)])?;
        ensure!(fine, "{said}");
    }
    Ok(())
}

fn a_value_that_is_not_there_is_refused_with_its_name() -> Result<()> {
    let cases = [
        ("colour=red", "colour"),
        ("agent.colour=red", "colour"),
        ("agent.image.tagg=1", "tagg"),
        ("agent.resources.limit.memory=1Mi", "limit"),
        ("agent.tolerations[0].keyy=a", "keyy"),
        ("operator.replicas=0", "/operator/replicas"),
        ("operator.logFormat=xml", "/operator/logFormat"),
        ("keys.namespace=A", "/keys/namespace"),
        ("agent.maxSurge=0", "/agent/maxSurge"),
        ("agent.runDir=run", "/agent/runDir"),
        ("teardown.timeoutSeconds=1h", "/teardown/timeoutSeconds"),
        ("agent.image.digest=sha256:1", "/agent/image/digest"),
        ("sysctls=Privileged", "/sysctls"),
    ];
    let chart = chart("vipkeeper");
    for (value, named) in cases {
        let (fine, said) = helm(&["template", "x", &chart, "--set", value])?;
        ensure!(!fine && said.contains(named), "{value}: {said}");
    }
    let (fine, said) = helm(&["template", "x", &chart, "--set", "agent.maxSurge=25%"])?;
    ensure!(fine, "{said}");
    Ok(())
}

/// The values below `schema` that `values` lacks: an object without further keys has all of them.
fn lacking(schema: &Value, values: &Value, path: &str, found: &mut Vec<String>) {
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match values.get(key) {
            // Helm's own; and Kubernetes' types, whose fields have no default here.
            _ if key == "global" => {}
            None => found.push(path),
            Some(_) if matches!(key.as_str(), "affinity" | "resources" | "seLinuxOptions") => {}
            Some(value) => lacking(below, value, &path, found),
        }
    }
}

fn every_value_has_its_default_written_down() -> Result<()> {
    let read = |file: &str| fs::read_to_string(tree(&format!("charts/vipkeeper/{file}")));
    let schema: Value = serde_json::from_str(&read("values.schema.json")?)?;
    let values: Value = serde_saphyr::from_str(&read("values.yaml")?)?;
    let mut found = Vec::new();
    lacking(&schema, &values, "", &mut found);
    ensure!(found.is_empty(), "values.yaml lacks {found:?}");
    Ok(())
}

fn nothing_is_privileged_but_the_init_container_that_was_asked_for() -> Result<()> {
    let chart = chart("vipkeeper");
    for (sysctls, privileged, settings_written) in [
        ("Verify", 0, false),
        ("HostPath", 0, true),
        ("InitContainer", 1, false),
    ] {
        let value = format!("sysctls={sysctls}");
        let (fine, said) = helm(&["template", "x", &chart, "--set", &value])?;
        ensure!(fine, "{said}");
        let count = said.matches("privileged: true").count();
        ensure!(count == privileged, "{sysctls}: {count} in {said}");
        let prepares = said.contains("args: [prepare, --root=/host]");
        ensure!(prepares == (privileged == 1), "{sysctls}: {said}");
        let writes = said.contains("--system-settings=write");
        ensure!(writes == settings_written, "{sysctls}: {said}");
    }
    Ok(())
}

/// A cluster where nobody runs.
fn installed(nodes: &[&str]) -> Result<Cluster> {
    scene::need()?;
    Cluster::install(nodes)
}

fn everything_that_can_be_rendered_is_accepted_as_it_is() -> Result<()> {
    let cluster = installed(&["a"])?;
    // Its own chart's definitions say what a PodMonitor is; here any is.
    let monitors = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": "PodMonitor", "plural": "podmonitors", "singular": "podmonitor"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    });
    let input = monitors.to_string();
    cluster.kubectl(&["apply", "-f", "-"], Some(&input))?;
    let crd = "crd/podmonitors.monitoring.coreos.com";
    cluster.kubectl(&["wait", "--for=condition=Established", crd], None)?;
    cluster.kubectl(&["create", "namespace", "vip-keys"], None)?;
    let label = "pod-security.kubernetes.io/enforce=privileged";
    cluster.kubectl(&["label", "namespace", NAMESPACE, label], None)?;
    cluster.helm(&["uninstall", "vipkeeper", "-n", NAMESPACE, "--no-hooks"])?;
    for set in ["default", "edge", "everything"] {
        let file = tree(&format!("charts/vipkeeper/tests/{set}.yaml"));
        let file = file.display().to_string();
        let apply = [
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--warnings-as-errors",
            "-f",
            &file,
        ];
        let said = cluster.kubectl(&apply, None)?;
        ensure!(said.contains("daemonset.apps/vipkeeper-agent"), "{said}");
    }
    Ok(())
}

fn install_yaml_alone_installs() -> Result<()> {
    let cluster = installed(&[])?;
    cluster.helm(&["uninstall", "vipkeeper", "-n", NAMESPACE, "--no-hooks"])?;
    cluster.helm(&["uninstall", "vipkeeper-crds"])?;
    for namespace in [NAMESPACE, "vipkeeper-keys"] {
        cluster.kubectl(&["delete", "namespace", namespace], None)?;
    }
    let crds = [
        "nodeconfigs.vipkeeper.io",
        "settings.vipkeeper.io",
        "virtualrouters.vipkeeper.io",
    ];
    cluster.kubectl(&[&["delete", "crd"][..], &crds].concat(), None)?;
    let file = tree("deploy/install.yaml").display().to_string();
    let apply = [
        "apply",
        "--validate=strict",
        "--warnings-as-errors",
        "-f",
        &file,
    ];
    cluster.kubectl(&apply, None)?;
    // Twice is the same: kubectl fails if something differs.
    cluster.kubectl(&["diff", "-f", &file], None)?;
    let router = scene::router("web", VIP, &json!({}));
    cluster.api.apply(&scene::path("web"), &router)?;
    Ok(())
}

fn an_upgrade_changes_what_it_says_and_a_rollback_takes_it_back() -> Result<()> {
    let cluster = installed(&["a"])?;
    let arguments = || -> Result<Vec<String>> {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/vipkeeper-agent");
        let daemonset: Value = cluster.api.get(&path)?;
        let arguments = &daemonset["spec"]["template"]["spec"]["containers"][0]["args"];
        Ok(serde_json::from_value(arguments.clone())?)
    };
    let before = arguments()?;
    let chart = chart("vipkeeper");
    let upgrade = ["upgrade", "vipkeeper", &chart, "-n", NAMESPACE];
    cluster.helm(&upgrade)?;
    ensure!(
        arguments()? == before,
        "the same chart changes the agents' pods"
    );
    cluster.helm(&[&upgrade[..], &["--set", "agent.logFormat=json"]].concat())?;
    ensure!(arguments()?.contains(&"--log-format=json".to_owned()));
    cluster.helm(&["rollback", "vipkeeper", "-n", NAMESPACE])?;
    ensure!(arguments()? == before, "{:?}", arguments()?);
    Ok(())
}

fn a_second_installation_is_refused() -> Result<()> {
    let cluster = installed(&[])?;
    let chart = chart("vipkeeper");
    let second = [
        "install",
        "other",
        &chart,
        "-n",
        "other",
        "--create-namespace",
    ];
    let refused = cluster.helm(&second).err().map(|e| format!("{e:#}"));
    ensure!(
        refused
            .as_ref()
            .is_some_and(|why| why.contains("vipkeeper") && why.contains("exists")),
        "{refused:?}"
    );
    Ok(())
}

/// All objects that the chart made and that are still there.
fn remains(cluster: &Cluster) -> Result<String> {
    let kinds = "daemonset,deployment,pod,job,lease,pdb,networkpolicy,serviceaccount,role,\
        rolebinding,clusterrole,clusterrolebinding,validatingadmissionpolicy,\
        validatingadmissionpolicybinding,namespace";
    let label = "app.kubernetes.io/name=vipkeeper";
    cluster.kubectl(&["get", kinds, "-A", "-l", label, "-o", "name"], None)
}

fn after_an_uninstallation_another_one_takes_up_what_the_user_has() -> Result<()> {
    let mut cluster = installed(&["a"])?;
    cluster.start_operator()?;
    let path = scene::path("web");
    cluster
        .api
        .apply(&path, &scene::router("web", VIP, &json!({})))?;
    let vrid = |router: &VirtualRouter| router.status.as_ref()?.virtual_router_id;
    let given = |router: &VirtualRouter| vrid(router).is_some();
    cluster.api.await_object(&path, "a VRID", SOON, given)?;

    cluster.uninstall()?;
    let log = cluster.operators[0].process.log();
    ensure!(log.contains("not leading any more"), "{log}");
    cluster.operators.clear();
    wait::until("nothing of the chart but the keys", SOON, || {
        Ok(Seen::when(remains(&cluster)?, |remains| {
            remains.trim() == "namespace/vipkeeper-keys"
        }))
    })?;
    let configs: Vec<NodeConfig> = cluster.api.list(CONFIGS)?;
    ensure!(configs.is_empty(), "{configs:?}");
    let kept: Value = cluster.api.get(&path)?;
    ensure!(kept["status"].is_null(), "{kept}");

    // As a backup has it: without a status; with what was given in its annotations.
    let mut annotations = kept["metadata"]["annotations"].clone();
    annotations["vipkeeper.io/virtual-router-id"] = "77".into();
    let restored = json!({
        "apiVersion": kept["apiVersion"], "kind": kept["kind"], "spec": kept["spec"],
        "metadata": {"name": "web", "annotations": annotations},
    });
    cluster.api.delete(&path)?;
    cluster.api.apply(&path, &restored)?;
    let chart = chart("vipkeeper");
    cluster.helm(&["install", "vipkeeper", &chart, "-n", NAMESPACE])?;
    cluster.start_operator()?;
    let router = cluster.api.await_object(&path, "a VRID", SOON, given)?;
    ensure!(vrid(&router) == Some(77), "{router:?}");
    Ok(())
}

fn an_uninstallation_may_take_the_users_objects_along() -> Result<()> {
    let mut cluster = installed(&["a"])?;
    let chart = chart("vipkeeper");
    let take = ["--set", "teardown.deleteObjects=true"];
    cluster.helm(
        &[
            &["upgrade", "vipkeeper", &chart, "-n", NAMESPACE],
            &take[..],
        ]
        .concat(),
    )?;
    let router = scene::router("web", VIP, &json!({}));
    cluster.api.apply(&scene::path("web"), &router)?;
    let settings = "/apis/vipkeeper.io/v1alpha1/settings";
    let object = json!({
        "apiVersion": "vipkeeper.io/v1alpha1", "kind": "Settings",
        "metadata": {"name": "default"}, "spec": {},
    });
    cluster.api.create(settings, &object)?.context("Settings")?;
    cluster.uninstall()?;
    let routers: Vec<Value> = cluster.api.list(vipkeeper_e2e::cluster::api::ROUTERS)?;
    let settings: Vec<Value> = cluster.api.list(settings)?;
    ensure!(routers.is_empty() && settings.is_empty());
    Ok(())
}
