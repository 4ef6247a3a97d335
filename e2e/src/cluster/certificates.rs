//! The certificates of a control plane, made by openssl: a CA of the lab's own, a server, and those who may ask it.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::namespace::run;

/// Days; a lab lives for hours.
const VALID: &str = "30";

/// A directory of certificates and keys.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Makes the CA, the API server's certificate for `addresses`, and the key of ServiceAccounts' tokens.
    pub(crate) fn create(directory: &Path, addresses: &[IpAddr]) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let certificates = Self {
            directory: directory.to_owned(),
        };
        let mut ca = certificates.request("ca", "/CN=vipkeeper-lab");
        ca.args(["-addext", "basicConstraints=critical,CA:TRUE"]);
        ca.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        run(&mut ca, None)?;
        let mut names = "subjectAltName=DNS:kubernetes,DNS:localhost".to_owned();
        for address in addresses {
            write!(names, ",IP:{address}")?;
        }
        certificates.sign("server", "/CN=kube-apiserver", &["-addext", &names])?;
        let mut key = Command::new("openssl");
        key.args([
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
        ])
        .arg(certificates.path("accounts.key"));
        run(&mut key, None)?;
        Ok(certificates)
    }

    /// Makes a certificate for somebody who asks the API server: `name`.crt and `name`.key.
    pub(crate) fn user(&self, name: &str, subject: &str) -> Result<()> {
        self.sign(name, subject, &["-addext", "extendedKeyUsage=clientAuth"])
    }

    /// Where a file is.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    fn sign(&self, name: &str, subject: &str, further: &[&str]) -> Result<()> {
        let mut request = self.request(name, subject);
        request
            .arg("-CA")
            .arg(self.path("ca.crt"))
            .arg("-CAkey")
            .arg(self.path("ca.key"))
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(further);
        run(&mut request, None)?;
        Ok(())
    }

    fn request(&self, name: &str, subject: &str) -> Command {
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-sha256"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-days", VALID, "-subj", subject, "-out"])
            .arg(self.path(&format!("{name}.crt")))
            .arg("-keyout")
            .arg(self.path(&format!("{name}.key")));
        command
    }
}
