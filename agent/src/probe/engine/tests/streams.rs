//! TCP and SMTP.

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::interval;

use super::*;

fn tcp() -> Value {
    json!({"type": "TCP"})
}

fn smtp() -> Value {
    json!({"type": "SMTP", "helo": "node-a"})
}

#[tokio::test]
async fn tcp_is_content_with_a_connection() {
    let address = server(|mut stream| async move { drain(&mut stream).await }).await;
    assert_eq!(ask(tcp(), address).await, "ok");
}

#[tokio::test]
async fn tcp_says_that_nobody_listens() {
    let (address, _socket) = nobody();
    assert_eq!(ask(tcp(), address).await, "TCP: refused");
}

#[tokio::test]
async fn tcp_leaves_no_connection_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(ask(tcp(), listener.local_addr().unwrap()).await, "ok");
    let (mut stream, _) = listener.accept().await.unwrap();
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn tcp_gives_up_on_a_server_that_takes_no_connection() {
    // A queue of one that is full: the kernel drops what else comes.
    let (address, socket) = nobody();
    socket.listen(0).unwrap();
    let _first = TcpStream::connect(address).await.unwrap();
    let _filling = tokio::spawn(TcpStream::connect(address));
    let said = ask_late(tcp(), address);
    assert_eq!(said.await, "TCP: no connection in 200ms");
}

#[tokio::test]
async fn a_probe_asks_from_its_source_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let source = [127, 0, 0, 77].into();
    let said = ask_with(tcp(), address, |p| p.source = Some(source)).await;
    assert_eq!(said, "ok");
    assert_eq!(listener.accept().await.unwrap().1.ip(), source);
    let said = ask_with(tcp(), address, |p| p.source = Some([192, 0, 2, 1].into())).await;
    assert_eq!(said, "TCP: the source address is not on this node");
}

#[tokio::test]
async fn a_probe_asks_by_its_interface() {
    let address = server(|mut stream| async move { drain(&mut stream).await }).await;
    let by = |name: &str| {
        let name = Some(name.to_owned());
        ask_with(tcp(), address, |p| p.interface = name)
    };
    assert_eq!(by("lo").await, "ok");
    assert_eq!(
        by("vk-none").await,
        "TCP: the interface is not on this node"
    );
}

/// Greets, and answers every line with the next of `replies`.
async fn mail_server(replies: &'static [&'static str]) -> SocketAddr {
    server(move |mut stream| async move {
        let (reader, mut writer) = stream.split();
        let mut lines = BufReader::new(reader).lines();
        for reply in replies {
            if writer.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
            let Ok(Some(_)) = lines.next_line().await else {
                return;
            };
        }
        drain(&mut stream).await;
    })
    .await
}

#[tokio::test]
async fn smtp_wants_220_and_250_in_one_line_or_several() {
    let address = mail_server(&["220 mx ESMTP\r\n", "250 hello\r\n", "221 bye\r\n"]).await;
    assert_eq!(ask(smtp(), address).await, "ok");
    let address = mail_server(&["220-mx\r\n220 ESMTP\r\n", "250-a\r\n250 b\r\n"]).await;
    assert_eq!(ask(smtp(), address).await, "ok");
}

#[tokio::test]
async fn smtp_greets_with_its_name() {
    let (said, mut heard) = tokio::sync::mpsc::channel(1);
    let address = server(move |mut stream| {
        let said = said.clone();
        async move {
            stream.write_all(b"220 mx\r\n").await.unwrap();
            let mut line = String::new();
            BufReader::new(&mut stream)
                .read_line(&mut line)
                .await
                .unwrap();
            said.send(line).await.unwrap();
            stream.write_all(b"250 mx\r\n").await.unwrap();
            drain(&mut stream).await;
        }
    })
    .await;
    assert_eq!(ask(smtp(), address).await, "ok");
    assert_eq!(heard.recv().await.unwrap(), "HELO node-a\r\n");
}

#[tokio::test]
async fn smtp_says_which_code_was_wrong() {
    let address = mail_server(&["554 go away\r\n"]).await;
    assert_eq!(ask(smtp(), address).await, "SMTP: greeted with 554");
    let address = mail_server(&["220 mx\r\n", "502 what?\r\n"]).await;
    assert_eq!(ask(smtp(), address).await, "SMTP: HELO answered with 502");
    let address = mail_server(&["HTTP/1.1 400 Bad Request\r\n"]).await;
    assert_eq!(ask(smtp(), address).await, "SMTP: malformed answer");
}

#[tokio::test]
async fn smtp_survives_servers_that_close_reset_and_talk_without_end() {
    let address = server(|stream| async move { drop(stream) }).await;
    assert_eq!(ask(smtp(), address).await, "SMTP: closed too early");
    let address = server(|stream| async move { reset(stream) }).await;
    assert_eq!(ask(smtp(), address).await, "SMTP: reset");
    let address =
        server(|mut stream| async move { while stream.write_all(&[b'2'; 4096]).await.is_ok() {} })
            .await;
    assert_eq!(ask(smtp(), address).await, "SMTP: answer too long");
}

#[tokio::test]
async fn smtp_gives_up_on_servers_that_hang_or_drip() {
    let address = server(|mut stream| async move { drain(&mut stream).await }).await;
    assert_eq!(ask_late(smtp(), address).await, "SMTP: no answer in 200ms");
    let address = server(|mut stream| async move {
        let mut ticks = interval(Duration::from_millis(30));
        while stream.write_all(b"2").await.is_ok() {
            ticks.tick().await;
        }
    })
    .await;
    assert_eq!(ask_late(smtp(), address).await, "SMTP: no answer in 200ms");
}
