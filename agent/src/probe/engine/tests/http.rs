//! HTTP without TLS.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::interval;

use super::*;

fn http(more: Value) -> Value {
    let mut kind = json!({
        "type": "HTTP",
        "method": "GET",
        "path": "/healthz",
        "statuses": [{"first": 200, "last": 299}],
        "version": "HTTP/1.1",
    });
    for (name, value) in more.as_object().unwrap() {
        kind[name] = value.clone();
    }
    kind
}

/// Reads a request's header and answers with `answer`, then closes.
async fn answering(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> SocketAddr {
    let answer = Arc::new(answer);
    server(move |mut stream| {
        let answer = answer.clone();
        async move {
            request(&mut stream).await;
            let _sent = stream.write_all((*answer).as_ref()).await;
        }
    })
    .await
}

/// A request's header.
async fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn http_judges_the_status() {
    assert_eq!(ask(http(json!({})), answering(OK).await).await, "ok");
    let busy = answering("HTTP/1.1 503 Secret words\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(ask(http(json!({})), busy).await, "HTTP: status 503");
    let moved = answering("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(ask(http(json!({})), moved).await, "HTTP: status 302");
    let statuses = json!({"statuses": [{"first": 200, "last": 200}, {"first": 300, "last": 399}]});
    assert_eq!(ask(http(statuses), moved).await, "ok");
}

#[tokio::test]
async fn http_asks_what_it_is_told_to() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = heard.clone();
    let address = server(move |mut stream| {
        let told = told.clone();
        async move {
            let text = request(&mut stream).await;
            told.lock().unwrap().push(text);
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let kind = json!({
        "method": "POST",
        "path": "/a?b=c",
        "host": "web.example",
        "headers": [{"name": "X-Probe", "value": "1"}, {"name": "User-Agent", "value": "v"}],
    });
    assert_eq!(ask(http(kind), address).await, "ok");
    assert_eq!(ask(http(json!({})), address).await, "ok");
    let heard = heard.lock().unwrap().clone();
    let mut lines: Vec<&str> = heard[0]
        .split("\r\n")
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(lines.remove(0), "POST /a?b=c HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "connection: close",
            "content-length: 0",
            "host: web.example",
            "user-agent: v",
            "x-probe: 1"
        ]
    );
    assert!(
        heard[1].contains(&format!("host: {address}\r\n")),
        "{}",
        heard[1]
    );
}

#[tokio::test]
async fn http_judges_the_body_by_digest_and_expression() {
    let address = answering(OK).await;
    for (more, said) in [
        (json!({"bodyRegex": "^hel+o$"}), "ok"),
        (
            json!({"bodyRegex": "goodbye"}),
            "HTTP: no match in the body",
        ),
        (
            json!({"bodyDigest": {"algorithm": "MD5", "value": "5d41402abc4b2a76b9719d911017c592"}}),
            "ok",
        ),
        (
            json!({"bodyDigest": {"algorithm": "SHA256", "value":
                "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}}),
            "ok",
        ),
        (
            json!({"bodyDigest": {"algorithm": "MD5", "value": "00000000000000000000000000000000"}}),
            "HTTP: another body than its digest",
        ),
    ] {
        assert_eq!(ask(http(more), address).await, said);
    }
}

#[tokio::test]
async fn http_reads_chunks_and_bodies_that_end_with_the_connection() {
    let chunked = answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    );
    let regex = || http(json!({"bodyRegex": "^hello$"}));
    assert_eq!(ask(regex(), chunked.await).await, "ok");
    let closing = answering("HTTP/1.0 200 OK\r\n\r\nhello").await;
    assert_eq!(ask(regex(), closing).await, "ok");
    let short = answering("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").await;
    assert_eq!(ask(regex(), short).await, "HTTP: closed too early");
}

#[tokio::test]
async fn http_looks_at_the_beginning_of_an_endless_body() {
    let address = server(|mut stream| async move {
        request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\n\r\nbegin";
        let _sent = stream.write_all(head).await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    // Of the first 1,048,576 bytes, by md5sum.
    let digest = json!({"algorithm": "MD5", "value": "13ef507f577a39feb54440c930a7c174"});
    for (more, said) in [
        (json!({"bodyRegex": "^begin"}), "ok"),
        (json!({"bodyRegex": "end"}), "HTTP: no match in the body"),
        (json!({"bodyDigest": digest}), "ok"),
        (json!({"bodyDigest": digest, "bodyRegex": "^begin"}), "ok"),
    ] {
        assert_eq!(ask(http(more), address).await, said);
    }
}

#[tokio::test]
async fn http_judges_nobody_whose_body_waits_for_others() {
    let mut engines = Engines::new("/nowhere".into());
    let mut probe = probe(http(json!({"bodyRegex": "^hello$"})));
    probe.timeout = vipkeeper_crds::Duration::from_millis(200);
    let target = Target::of(&probe, answering(OK).await);
    let turns = (
        engines.matchers.turn().await.unwrap(),
        engines.matchers.turn().await.unwrap(),
    );
    let engine = engines.engine(target.shape());
    let said = Engines::ask(engine, target, 1).await;
    assert_eq!(said, Outcome::Unable(Lack::Matchers));
    drop(turns);
    probe.timeout = vipkeeper_crds::Duration::from_millis(LONG.as_millis() as u64);
    let target = Target::of(&probe, answering(OK).await);
    let engine = engines.engine(target.shape());
    let said = Engines::ask(engine, target, 1).await;
    assert_eq!(said, Outcome::Success { weight: None });
}

#[tokio::test]
async fn http_does_not_read_a_body_of_which_nothing_is_wanted() {
    let address = server(|mut stream| async move {
        request(&mut stream).await;
        let _sent = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            .await;
        drain(&mut stream).await;
    })
    .await;
    assert_eq!(ask(http(json!({})), address).await, "ok");
}

#[tokio::test]
async fn http_survives_garbage_and_headers_without_end() {
    for (answer, said) in [
        ("\x00\x01\x02 garbage\r\n\r\n", "HTTP: malformed answer"),
        ("SSH-2.0-OpenSSH\r\n", "HTTP: malformed answer"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP: malformed answer",
        ),
        ("HTTP/1.1 20", "HTTP: closed too early"),
        ("", "HTTP: closed too early"),
    ] {
        assert_eq!(
            ask(http(json!({})), answering(answer).await).await,
            said,
            "{answer:?}"
        );
    }
    let address = server(|mut stream| async move {
        request(&mut stream).await;
        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    assert_eq!(ask(http(json!({})), address).await, "HTTP: answer too long");
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    assert_eq!(
        ask(http(json!({})), answering(many).await).await,
        "HTTP: answer too long"
    );
}

#[tokio::test]
async fn http_survives_resets_and_nobody() {
    let address = server(|mut stream| async move {
        request(&mut stream).await;
        reset(stream);
    })
    .await;
    assert_eq!(ask(http(json!({})), address).await, "HTTP: reset");
    let (address, _socket) = nobody();
    assert_eq!(ask(http(json!({})), address).await, "HTTP: refused");
}

#[tokio::test]
async fn http_gives_up_on_servers_that_hang_or_drip() {
    let address = server(|mut stream| async move { drain(&mut stream).await }).await;
    for version in ["HTTP/1.1", "HTTP/2"] {
        let said = ask_late(http(json!({"version": version})), address).await;
        assert_eq!(said, "HTTP: no answer in 200ms");
    }
    let dripping = |head: &'static str| {
        server(move |mut stream| async move {
            request(&mut stream).await;
            let mut ticks = interval(Duration::from_millis(30));
            let _sent = stream.write_all(head.as_bytes()).await;
            while stream.write_all(b"x").await.is_ok() {
                ticks.tick().await;
            }
        })
    };
    let address = dripping("HTTP/1.1 200 OK\r\nX: ").await;
    assert_eq!(
        ask_late(http(json!({})), address).await,
        "HTTP: no answer in 200ms"
    );
    let address = dripping("HTTP/1.1 200 OK\r\n\r\n").await;
    let said = ask_late(http(json!({"bodyRegex": "y"})), address).await;
    assert_eq!(said, "HTTP: answer not complete in 200ms");
    let address = server(|mut stream| async move {
        while stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        ask_late(http(json!({})), address).await,
        "HTTP: no answer in 200ms"
    );
}

/// Answers over HTTP/2 with `status` and `body`.
async fn http2_server(status: u16, body: &'static [u8]) -> SocketAddr {
    server(move |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let asked = (request.method().as_str(), request.uri().path());
            assert_eq!(asked, ("GET", "/healthz"));
            let answer = hyper::Response::builder().status(status).body(()).unwrap();
            let mut stream = respond.send_response(answer, body.is_empty()).unwrap();
            if !body.is_empty() {
                stream.send_data(body.into(), true).unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn http2_judges_status_and_body_with_prior_knowledge() {
    let http2 = |mut more: Value| {
        more["version"] = "HTTP/2".into();
        http(more)
    };
    let address = http2_server(200, b"hello").await;
    assert_eq!(ask(http2(json!({})), address).await, "ok");
    assert_eq!(
        ask(http2(json!({"bodyRegex": "^hello$"})), address).await,
        "ok"
    );
    assert_eq!(
        ask(http2(json!({"bodyRegex": "bye"})), address).await,
        "HTTP: no match in the body"
    );
    let address = http2_server(500, b"").await;
    assert_eq!(ask(http2(json!({})), address).await, "HTTP: status 500");
}

#[tokio::test]
async fn http2_survives_a_server_of_http1_and_one_that_refuses_streams() {
    let http2 = || http(json!({"version": "HTTP/2"}));
    let address = server(|mut stream| async move {
        let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        drain(&mut stream).await;
    })
    .await;
    let said = ask(http2(), address).await;
    assert!(said.starts_with("HTTP: "), "{said}");
    let address = server(|stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    })
    .await;
    let said = ask(http2(), address).await;
    assert!(said.starts_with("HTTP: HTTP/2: "), "{said}");
    let address = server(|stream| async move { drop(stream) }).await;
    let said = ask(http2(), address).await;
    assert!(
        ["HTTP: reset", "HTTP: closed too early"].contains(&&*said),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_no_http_cannot_be_asked() {
    let (address, _socket) = nobody();
    for more in [
        json!({"headers": [{"name": "a b", "value": ""}]}),
        json!({"headers": [{"name": "a", "value": "b\r\nc"}]}),
        json!({"host": "a\nb"}),
        json!({"path": "/\u{7f} "}),
        json!({"bodyRegex": "("}),
    ] {
        let said = ask(http(more.clone()), address).await;
        assert!(
            said.starts_with("HTTP: cannot be asked: "),
            "{more}: {said}"
        );
    }
}
