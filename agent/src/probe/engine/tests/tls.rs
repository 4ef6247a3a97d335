//! HTTPS: certificates good and bad.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority that tests believe.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a server shows, and what it speaks.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    alpn: &'static [&'static [u8]],
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn identity(&self, edit: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::IpAddress([127, 0, 0, 1].into()));
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::of(certificate.der().clone(), &key)
    }
}

impl Identity {
    fn of(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        Self {
            chain: vec![certificate],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            alpn: &[b"http/1.1"],
        }
    }

    fn self_signed() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
        Self::of(params.self_signed(&key).unwrap().der().clone(), &key)
    }

    /// A server that answers every request with 200 and `hello`.
    async fn serve(self) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        server(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        respond
                            .send_response(hyper::Response::new(()), true)
                            .unwrap();
                    }
                    return;
                }
                let mut request = [0; 1024];
                let _read = stream.read(&mut request).await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
                let _sent = stream.write_all(answer).await;
                let _closed = stream.shutdown().await;
            }
        })
        .await
    }
}

fn https(tls: Value) -> Value {
    json!({
        "type": "HTTP",
        "method": "GET",
        "path": "/",
        "statuses": [{"first": 200, "last": 299}],
        "version": "HTTP/1.1",
        "tls": tls,
    })
}

fn believing(pem: &str, name: Option<&str>) -> Value {
    match name {
        Some(name) => https(json!({"serverName": name, "verify": true, "authorities": pem})),
        None => https(json!({"verify": true, "authorities": pem})),
    }
}

#[tokio::test]
async fn https_believes_its_authority_for_the_name_and_for_the_address() {
    let authority = Authority::new("ours");
    let address = authority.identity(|_| ()).serve().await;
    let name = Some("web.example");
    assert_eq!(ask(believing(&authority.pem, name), address).await, "ok");
    assert_eq!(ask(believing(&authority.pem, None), address).await, "ok");
    let both = format!("{}{}", Authority::new("another").pem, authority.pem);
    assert_eq!(ask(believing(&both, name), address).await, "ok");
    let mut reading = believing(&authority.pem, name);
    reading["bodyRegex"] = "^hello$".into();
    assert_eq!(ask(reading, address).await, "ok");
}

#[tokio::test]
async fn https_says_what_is_wrong_with_a_certificate() {
    let authority = Authority::new("ours");
    let name = Some("web.example");
    let ask_of = async |identity: Identity, name| {
        let address = identity.serve().await;
        ask(believing(&authority.pem, name), address).await
    };
    let said = ask_of(Authority::new("theirs").identity(|_| ()), name).await;
    assert_eq!(said, "HTTPS: certificate: unknown issuer");
    let said = ask_of(Identity::self_signed(), name).await;
    assert_eq!(said, "HTTPS: certificate: unknown issuer");
    let said = ask_of(authority.identity(|_| ()), Some("other.example")).await;
    assert_eq!(said, "HTTPS: certificate: of another name");
    let nameless = authority.identity(|p| p.subject_alt_names.truncate(1));
    assert_eq!(
        ask_of(nameless, None).await,
        "HTTPS: certificate: of another name"
    );
    let expired = authority.identity(|p| {
        p.not_before = date_time_ymd(2001, 1, 1);
        p.not_after = date_time_ymd(2002, 1, 1);
    });
    assert_eq!(ask_of(expired, name).await, "HTTPS: certificate: expired");
    let future = authority.identity(|p| p.not_before = date_time_ymd(4000, 1, 1));
    assert_eq!(
        ask_of(future, name).await,
        "HTTPS: certificate: not valid yet"
    );
}

#[tokio::test]
async fn https_verifies_unless_it_is_told_not_to() {
    let address = Identity::self_signed().serve().await;
    let system = https(json!({"serverName": "web.example", "verify": true}));
    let said = ask(system, address).await;
    let expected = [
        "HTTPS: certificate: unknown issuer",
        "HTTPS: cannot be asked: this node has no certificate authorities",
    ];
    assert!(expected.contains(&&*said), "{said}");
    assert_eq!(ask(https(json!({"verify": false})), address).await, "ok");
}

#[tokio::test]
async fn https_speaks_http2_if_the_server_does() {
    let authority = Authority::new("ours");
    let mut kind = believing(&authority.pem, None);
    kind["version"] = "HTTP/2".into();
    let mut identity = authority.identity(|_| ());
    identity.alpn = &[b"h2", b"http/1.1"];
    let address = identity.serve().await;
    assert_eq!(ask(kind.clone(), address).await, "ok");
    let mut silent = authority.identity(|_| ());
    silent.alpn = &[];
    assert_eq!(
        ask(kind.clone(), silent.serve().await).await,
        "HTTPS: no HTTP/2 over TLS"
    );
    let older = authority.identity(|_| ()).serve().await;
    assert_eq!(ask(kind, older).await, "HTTPS: TLS: alert received");
}

#[tokio::test]
async fn https_survives_servers_without_tls_and_handshakes_that_hang_or_end() {
    let kind = || https(json!({"verify": false}));
    let address = server(|mut stream| async move {
        let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        drain(&mut stream).await;
    })
    .await;
    assert_eq!(ask(kind(), address).await, "HTTPS: TLS: malformed");
    let address = server(|stream| async move { reset(stream) }).await;
    assert_eq!(ask(kind(), address).await, "HTTPS: reset");
    let address = server(|mut stream| async move {
        let _hello = stream.read(&mut [0; 4096]).await;
    })
    .await;
    let said = ask(kind(), address).await;
    assert!(
        ["HTTPS: closed too early", "HTTPS: reset"].contains(&&*said),
        "{said}"
    );
    let address = server(|mut stream| async move { drain(&mut stream).await }).await;
    assert_eq!(
        ask_late(kind(), address).await,
        "HTTPS: no TLS session in 200ms"
    );
}

#[tokio::test]
async fn authorities_that_are_none_cannot_be_asked() {
    let (address, _socket) = nobody();
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (pem, said) in [
        (
            "",
            "HTTPS: cannot be asked: the authorities hold no certificate",
        ),
        (
            "hello",
            "HTTPS: cannot be asked: the authorities hold no certificate",
        ),
        (
            garbage,
            "HTTPS: cannot be asked: an authority is no certificate",
        ),
    ] {
        assert_eq!(ask(believing(pem, None), address).await, said);
    }
    let named = believing(&Authority::new("ours").pem, Some("not a name"));
    assert_eq!(
        ask(named, address).await,
        "HTTPS: cannot be asked: the server name is none"
    );
}
