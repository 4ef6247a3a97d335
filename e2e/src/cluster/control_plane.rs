//! The control plane of a lab: etcd, kube-apiserver and kube-controller-manager in a namespace of their own on the
//! nodes' segment, with what makes them fail.
//!
//! Owns their processes and data. Nothing is written to disk with a guarantee: the machine does not die in a test.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::api::Api;
use super::certificates::Certificates;
use crate::lab::Node;
use crate::namespace::run;
use crate::process::Process;
use crate::wait::{self, Seen};

/// The API server's port.
const PORT: u16 = 6443;
/// Time for a server to begin to answer on a loaded machine.
const START: Duration = Duration::from_secs(60);
/// The controllers that the charts' objects need.
const CONTROLLERS: &str = "serviceaccount-controller,serviceaccount-token-controller,\
    root-ca-certificate-publisher-controller,namespace-controller,garbage-collector-controller,\
    daemonset-controller,deployment-controller,replicaset-controller,disruption-controller,job-controller,\
    validatingadmissionpolicy-status-controller";
/// Every write and who made it; nothing that is only read.
const AUDIT: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
    - {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}\n- {level: None}\n";

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    host: Node,
    programs: PathBuf,
    certificates: Certificates,
    etcd: Option<Process>,
    server: Option<Process>,
    manager: Option<Process>,
}

impl ControlPlane {
    /// Starts etcd and the API server on `host` with the programs of a directory; returns when it is ready, with an
    /// administrator's way to it.
    pub(crate) fn start(host: Node, programs: &Path) -> Result<(Self, Api)> {
        let addresses = [
            IpAddr::V4(host.ipv4(0)),
            IpAddr::V6(host.ipv6(0)),
            Ipv4Addr::LOCALHOST.into(),
            Ipv4Addr::new(10, 96, 0, 1).into(),
        ];
        let directory = host.directory().join("certificates");
        let certificates = Certificates::create(&directory, &addresses)?;
        certificates.user("admin", "/O=system:masters/CN=admin")?;
        let manager = "/CN=system:kube-controller-manager";
        certificates.user("kube-controller-manager", manager)?;
        let mut plane = Self {
            host,
            programs: programs.to_owned(),
            certificates,
            etcd: None,
            server: None,
            manager: None,
        };
        fs::write(plane.file("audit.yaml"), AUDIT)?;
        for user in ["admin", "kube-controller-manager"] {
            let credentials = format!(
                "client-certificate: {}, client-key: {}",
                plane.certificates.path(&format!("{user}.crt")).display(),
                plane.certificates.path(&format!("{user}.key")).display()
            );
            plane.write_kubeconfig(&plane.file(&format!("{user}.kubeconfig")), &credentials)?;
        }
        plane.start_etcd()?;
        plane.start_server()?;
        let api = Api::new(plane.host.namespace(), &plane.kubeconfig())?;
        plane.await_ready(&api)?;
        Ok((plane, api))
    }

    /// Starts the controllers.
    pub(crate) fn start_manager(&mut self) -> Result<()> {
        let kubeconfig = self.file("kube-controller-manager.kubeconfig");
        let mut command = self.command("kube-controller-manager");
        // Nobody asks it anything.
        command.args([
            "--authentication-skip-lookup",
            "--authorization-kubeconfig=",
        ]);
        command.arg(flag("kubeconfig", &kubeconfig));
        command
            .arg(format!("--controllers={CONTROLLERS}"))
            .args(["--use-service-account-credentials", "--leader-elect=false"])
            .args(["--secure-port=10257", "--bind-address=127.0.0.1"])
            .arg(flag("cert-dir", &self.file("manager-certificates")))
            .arg(flag("root-ca-file", &self.certificates.path("ca.crt")))
            .arg(flag(
                "service-account-private-key-file",
                &self.certificates.path("accounts.key"),
            ));
        self.manager = Some(self.run("kube-controller-manager", command)?);
        Ok(())
    }

    /// Where an administrator's kubeconfig is; it works inside the lab's namespaces.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("admin.kubeconfig")
    }

    /// The host that it runs on.
    #[must_use]
    pub fn host(&self) -> &Node {
        &self.host
    }

    /// The API server's address and port on the nodes' segment.
    #[must_use]
    pub fn address(&self) -> (Ipv4Addr, u16) {
        (self.host.ipv4(0), PORT)
    }

    /// The API server's log of writes.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.file("audit.log")
    }

    /// Writes a kubeconfig for somebody with `credentials`, the inside of a `user`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_kubeconfig(&self, path: &Path, credentials: &str) -> Result<()> {
        let (address, port) = self.address();
        self.write_kubeconfig_for(path, credentials, &format!("{address}:{port}"))
    }

    /// The same for a server that is reached at `server`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_kubeconfig_for(&self, path: &Path, credentials: &str, server: &str) -> Result<()> {
        let ca = self.certificates.path("ca.crt");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
             clusters: [{{name: lab, cluster: {{server: \"https://{server}\", certificate-authority: {}}}}}]\n\
             contexts: [{{name: lab, context: {{cluster: lab, user: lab}}}}]\n\
             users: [{{name: lab, user: {{{credentials}}}}}]\n",
            ca.display()
        );
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    /// What an administrator's kubeconfig has as its user.
    #[must_use]
    pub fn admin_credentials(&self) -> String {
        let (certificate, key) = (
            self.certificates.path("admin.crt"),
            self.certificates.path("admin.key"),
        );
        format!(
            "client-certificate: {}, client-key: {}",
            certificate.display(),
            key.display()
        )
    }

    /// The API server is gone, as after a power failure.
    ///
    /// # Errors
    /// When it survives.
    pub fn kill_server(&mut self) -> Result<()> {
        self.server
            .take()
            .map_or(Ok(()), |mut server| server.kill())
    }

    /// It hangs: its sockets are open, and nobody answers.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause_server(&self) -> Result<()> {
        self.signal_server(Signal::SIGSTOP)
    }

    /// It goes on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume_server(&self) -> Result<()> {
        self.signal_server(Signal::SIGCONT)
    }

    fn signal_server(&self, signal: Signal) -> Result<()> {
        let server = self.server.as_ref().context("no API server runs")?;
        server.signal(signal)
    }

    /// Starts the API server again.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart_server(&mut self, api: &Api) -> Result<()> {
        self.start_server()?;
        self.await_ready(api)
    }

    /// etcd is killed and started again, with what it has.
    ///
    /// # Errors
    /// When the API server does not become ready again.
    pub fn restart_etcd(&mut self, api: &Api) -> Result<()> {
        self.kill_etcd()?;
        self.start_etcd()?;
        self.await_ready(api)
    }

    /// Keeps a copy of all that etcd has; the API server is without it for a moment.
    ///
    /// # Errors
    /// When the copy cannot be made.
    pub fn take_snapshot(&mut self, api: &Api) -> Result<()> {
        self.kill_etcd()?;
        copy(&self.file("etcd"), &self.file("snapshot"))?;
        self.start_etcd()?;
        self.await_ready(api)
    }

    /// Puts the copy back, as a restore from backup does: all that happened since has never been.
    ///
    /// # Errors
    /// When there is none, or the API server does not become ready.
    pub fn restore_snapshot(&mut self, api: &Api) -> Result<()> {
        self.kill_server()?;
        self.kill_etcd()?;
        copy(&self.file("snapshot"), &self.file("etcd"))?;
        self.start_etcd()?;
        self.restart_server(api)
    }

    fn kill_etcd(&mut self) -> Result<()> {
        self.etcd.take().map_or(Ok(()), |mut etcd| etcd.kill())
    }

    fn start_etcd(&mut self) -> Result<()> {
        let (clients, peers) = ("http://127.0.0.1:2379", "http://127.0.0.1:2380");
        let mut command = self.command("etcd");
        command
            .args(["--unsafe-no-fsync", "--logger=zap", "--log-level=warn"])
            .arg(flag("data-dir", &self.file("etcd")))
            .arg(format!("--listen-client-urls={clients}"))
            .arg(format!("--advertise-client-urls={clients}"))
            .arg(format!("--listen-peer-urls={peers}"))
            .arg(format!("--initial-advertise-peer-urls={peers}"))
            .arg(format!("--initial-cluster=default={peers}"));
        self.etcd = Some(self.run("etcd", command)?);
        Ok(())
    }

    fn start_server(&mut self) -> Result<()> {
        let address = self.host.ipv4(0);
        let accounts = self.certificates.path("accounts.key");
        let mut command = self.command("kube-apiserver");
        command
            .args([
                "--etcd-servers=http://127.0.0.1:2379",
                "--bind-address=0.0.0.0",
            ])
            .arg(format!("--secure-port={PORT}"))
            .arg(format!("--advertise-address={address}"))
            .args(["--endpoint-reconciler-type=none", "--allow-privileged"])
            .args([
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
            ])
            .args(["--service-cluster-ip-range=10.96.0.0/16"])
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(flag("client-ca-file", &self.certificates.path("ca.crt")))
            .arg(flag("tls-cert-file", &self.certificates.path("server.crt")))
            .arg(flag(
                "tls-private-key-file",
                &self.certificates.path("server.key"),
            ))
            .arg(flag("service-account-key-file", &accounts))
            .arg(flag("service-account-signing-key-file", &accounts))
            .arg(flag("audit-policy-file", &self.file("audit.yaml")))
            .arg(flag("audit-log-path", &self.audit_log()));
        self.server = Some(self.run("kube-apiserver", command)?);
        Ok(())
    }

    fn await_ready(&mut self, api: &Api) -> Result<()> {
        let ends = [
            ("etcd", &mut self.etcd),
            ("kube-apiserver", &mut self.server),
        ];
        let mut ends: Vec<_> = ends
            .into_iter()
            .filter_map(|(name, end)| Some((name, end.as_mut()?)))
            .collect();
        wait::until("an API server that is ready", START, || {
            for (name, process) in &mut ends {
                if let Some(status) = process.exit_status()? {
                    anyhow::bail!("{name} ended: {status}");
                }
            }
            Ok(match api.text("/readyz") {
                Ok(text) => Seen::when(text, |text| text == "ok").map(|_| ()),
                Err(error) => Seen::NotYet(format!("{error:#}")),
            })
        })
    }

    fn command(&self, program: &str) -> Command {
        Command::new(self.programs.join(program))
    }

    fn run(&self, name: &str, command: Command) -> Result<Process> {
        Process::start(name, command, self.host.namespace(), self.host.directory())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.host.directory().join(name)
    }
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// Replaces the directory `to` by a copy of `from`.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    run(Command::new("cp").arg("-a").arg(from).arg(to), None)?;
    Ok(())
}
