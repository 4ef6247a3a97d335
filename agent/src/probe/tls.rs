//! TLS of probes: how a server is spoken to, and what is wrong with a certificate in few words.
//!
//! Owns the client's configuration. Every probe makes a session of its own, so that every certificate is looked at.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vipkeeper_crds::node_server::NodeTls;

use super::authorities::authorities;
use super::outcome::{Failure, Stop};

/// How a target is spoken to over TLS.
pub(super) struct Session {
    connector: TlsConnector,
    /// The name that is asked for; `None` for the target's address.
    name: Option<ServerName<'static>>,
}

impl Session {
    /// As `tls` says, for the protocol `alpn` above it.
    pub(super) fn of(tls: &NodeTls, alpn: &str) -> Result<Self, Failure> {
        let unaskable = |_| Failure::Unaskable("the server name is none");
        let name = tls.server_name.clone().map(ServerName::try_from);
        let name = name.transpose().map_err(unaskable)?;
        let mut config = config(tls)?;
        config.alpn_protocols = vec![alpn.into()];
        config.resumption = Resumption::disabled();
        Ok(Self {
            connector: Arc::new(config).into(),
            name,
        })
    }

    /// A session over `stream` with a server at `address`.
    pub(super) async fn connect(
        &self,
        address: IpAddr,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Stop> {
        let name = self.name.clone();
        let name = name.unwrap_or_else(|| ServerName::IpAddress(address.into()));
        let session = self.connector.connect(name, stream).await;
        session.map_err(|error| match tls_error(&error) {
            Some(error) => failure(error).into(),
            None => error.into(),
        })
    }
}

fn config(tls: &NodeTls) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| Failure::Internal)?;
    if tls.verify {
        let roots = authorities(tls.authorities.as_deref())?;
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let anybody = Arc::new(Anybody(provider));
    let builder = builder.dangerous();
    Ok(builder
        .with_custom_certificate_verifier(anybody)
        .with_no_client_auth())
}

fn tls_error(error: &std::io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn failure(error: &Error) -> Failure {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "another crate's, and non-exhaustive"
    )]
    match error {
        Error::InvalidCertificate(error) => Failure::Certificate(wrong(error)),
        Error::AlertReceived(_) => Failure::Tls("alert received"),
        Error::NoApplicationProtocol => Failure::Version,
        Error::PeerIncompatible(_) => Failure::Tls("incompatible"),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => Failure::Tls("malformed"),
        _ => Failure::Tls("handshake failed"),
    }
}

fn wrong(error: &CertificateError) -> &'static str {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "another crate's, and non-exhaustive"
    )]
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "not valid yet"
        }
        CertificateError::UnknownIssuer => "unknown issuer",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "of another name"
        }
        CertificateError::BadSignature => "bad signature",
        CertificateError::BadEncoding => "malformed",
        CertificateError::Revoked => "revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "not for servers"
        }
        _ => "not acceptable",
    }
}

/// Believes every certificate; that its owner is at the other end is still proved.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::authorities::tests::pem;
    use super::*;

    #[test]
    fn shapes_that_believe_the_same_share_one_store() {
        let pem = pem();
        let tls = |name: &str| NodeTls {
            server_name: Some(name.to_owned()),
            verify: true,
            authorities: Some(pem.clone()),
        };
        let store = authorities(Some(&pem)).unwrap();
        let _first = Session::of(&tls("a.example"), "http/1.1").unwrap();
        let _second = Session::of(&tls("b.example"), "h2").unwrap();
        assert_eq!(Arc::strong_count(&store), 3);
    }
}
