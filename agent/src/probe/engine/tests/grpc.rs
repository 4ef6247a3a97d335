//! The health protocol of gRPC.

use hyper::body::Bytes;
use hyper::{HeaderMap, Response};
use serde_json::json;

use super::*;

#[derive(Clone, Copy)]
struct Health {
    body: &'static [u8],
    /// In the trailer; in the header if there is no body.
    status: Option<&'static str>,
}

async fn health_server(health: Health) -> SocketAddr {
    server(move |stream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let mut answer = Response::builder().header("content-type", "application/grpc");
            let header = health.status.filter(|_| health.body.is_empty());
            if let Some(status) = header {
                answer = answer.header("grpc-status", status);
            }
            let answer = answer.body(()).unwrap();
            let mut stream = respond.send_response(answer, header.is_some()).unwrap();
            if header.is_none() {
                stream
                    .send_data(Bytes::from_static(health.body), health.status.is_none())
                    .unwrap();
            }
            if let (Some(status), None) = (health.status, header) {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                stream.send_trailers(trailers).unwrap();
            }
        }
    })
    .await
}

async fn said_of(body: &'static [u8], status: Option<&'static str>) -> String {
    let address = health_server(Health { body, status }).await;
    ask(json!({"type": "GRPC", "service": "web"}), address).await
}

#[tokio::test]
async fn grpc_is_good_if_it_serves() {
    assert_eq!(said_of(&[0, 0, 0, 0, 2, 8, 1], Some("0")).await, "ok");
    assert_eq!(
        said_of(&[0, 0, 0, 0, 2, 8, 2], Some("0")).await,
        "GRPC: not serving"
    );
    assert_eq!(said_of(&[], Some("12")).await, "GRPC: gRPC status 12");
    assert_eq!(
        said_of(&[0, 0, 0, 0, 2, 8, 1], Some("14")).await,
        "GRPC: gRPC status 14"
    );
}

#[tokio::test]
async fn grpc_survives_answers_that_are_none() {
    assert_eq!(
        said_of(&[0, 0, 0, 0, 2, 8, 1], None).await,
        "GRPC: malformed answer"
    );
    assert_eq!(
        said_of(&[0, 0, 0, 9, 9, 9], Some("0")).await,
        "GRPC: malformed answer"
    );
    assert_eq!(
        said_of(&[0, 0, 0, 0, 2, 8, 1], Some("secret")).await,
        "GRPC: malformed answer"
    );
    assert_eq!(
        said_of(&[7; 4096], Some("0")).await,
        "GRPC: answer too long"
    );
}

#[tokio::test]
async fn grpc_gives_up_on_a_server_that_hangs() {
    let address = server(|mut stream| async move { drain(&mut stream).await }).await;
    let said = ask_late(json!({"type": "GRPC", "service": ""}), address).await;
    assert_eq!(said, "GRPC: no answer in 200ms");
}
