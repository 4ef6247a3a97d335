//! UDP, DNS and Ping.

use std::net::IpAddr;

use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::*;

/// A server that answers each datagram with those that `answer` makes of it.
async fn answering(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            for answer in answer(&buffer[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

fn udp(payload: &str, reply: Option<&str>) -> Value {
    match reply {
        Some(reply) => json!({"type": "UDP", "payload": payload, "reply": reply}),
        None => json!({"type": "UDP", "payload": payload}),
    }
}

fn dns(name: &str) -> Value {
    json!({"type": "DNS", "record": "A", "name": name, "code": 0})
}

#[tokio::test]
async fn udp_compares_the_beginning_of_the_answer() {
    let address = answering(|said| vec![[said, b"tail"].concat()]).await;
    assert_eq!(ask(udp("00ff10", Some("00fF1x")), address).await, "ok");
    assert_eq!(ask(udp("00ff10", None), address).await, "ok");
    assert_eq!(
        ask(udp("00ff10", Some("00fe")), address).await,
        "UDP: another answer"
    );
    let long = "00".repeat(1_000);
    assert_eq!(
        ask(udp("00", Some(&long)), address).await,
        "UDP: another answer"
    );
}

#[tokio::test]
async fn udp_takes_silence_unless_an_answer_is_wanted() {
    let address = answering(|_| vec![]).await;
    assert_eq!(ask_late(udp("", None), address).await, "ok");
    assert_eq!(
        ask_late(udp("", Some("00")), address).await,
        "UDP: no answer in 200ms"
    );
}

#[tokio::test]
async fn udp_says_that_nobody_listens() {
    let unused = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    assert_eq!(ask(udp("00", None), address).await, "UDP: refused");
}

#[tokio::test]
async fn udp_takes_no_silence_of_a_host_that_cannot_be_reached() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root, to say so as a router does");
        return;
    }
    let ipv4 = unreachable([127, 0, 0, 1].into()).await;
    assert_eq!(ask(udp("00", None), ipv4).await, "UDP: unreachable");
    assert_eq!(ask(dns("."), ipv4).await, "DNS: unreachable");
    let ipv6 = "::1".parse().unwrap();
    if std::net::UdpSocket::bind((ipv6, 0)).is_ok() {
        let ipv6 = unreachable(ipv6).await;
        assert_eq!(ask(udp("00", None), ipv6).await, "UDP: unreachable");
    }
}

/// An address of which whoever sends there hears that the host cannot be reached.
async fn unreachable(address: IpAddr) -> SocketAddr {
    let socket = UdpSocket::bind((address, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let protocol = match address {
        SocketAddr::V4(_) => Protocol::ICMPV4,
        SocketAddr::V6(_) => Protocol::ICMPV6,
    };
    let raw = Socket::new(Domain::for_address(address), Type::RAW, Some(protocol)).unwrap();
    tokio::spawn(async move {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 2048]).await {
            let told = SocketAddr::new(from.ip(), 0);
            let message = host_unreachable(from, address);
            raw.send_to(&message, &told.into()).unwrap();
        }
    });
    address
}

/// The ICMP message (RFC 792, RFC 4443 §3.1) that answers a datagram without payload.
fn host_unreachable(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut message = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let header = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
            [
                &[3, 1, 0, 0, 0, 0, 0, 0][..],
                &header,
                &from.octets(),
                &to.octets(),
            ]
            .concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = [0x60, 0, 0, 0, 0, 8, 17, 64];
            [
                &[1, 3, 0, 0, 0, 0, 0, 0][..],
                &header,
                &from.octets(),
                &to.octets(),
            ]
            .concat()
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => panic!("{from} and {to} are of two families"),
    };
    message.extend(from.port().to_be_bytes());
    message.extend(to.port().to_be_bytes());
    message.extend([0, 8, 0, 0]);
    if from.is_ipv4() {
        // The sum of RFC 1071; of ICMPv6 the kernel makes it.
        let words = message
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        let sum: u32 = words.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    message
}

#[tokio::test]
async fn what_is_not_hexadecimal_cannot_be_asked() {
    let (address, _socket) = nobody();
    let said = ask(udp("0", None), address).await;
    assert_eq!(said, "UDP: cannot be asked: the payload is not hexadecimal");
}

/// A response to `query` with `code`.
fn response(query: &[u8], code: u8) -> Vec<u8> {
    let mut response = query.to_owned();
    response[2] = 0x81;
    response[3] = 0x80 | code;
    response
}

#[tokio::test]
async fn dns_judges_the_response_code() {
    let address = answering(|query| vec![response(query, 0)]).await;
    assert_eq!(ask(dns("www.example"), address).await, "ok");
    let address = answering(|query| vec![response(query, 2)]).await;
    assert_eq!(ask(dns("."), address).await, "DNS: response code 2");
}

#[tokio::test]
async fn dns_waits_for_the_answer_to_its_own_question() {
    let address = answering(|query| {
        let mut foreign = response(query, 2);
        foreign[0] ^= 0xff;
        vec![foreign, vec![], response(query, 0)]
    })
    .await;
    assert_eq!(ask(dns("www.example"), address).await, "ok");
}

#[tokio::test]
async fn dns_survives_garbage_silence_and_nobody() {
    let address = answering(|query| vec![query[..5].to_owned()]).await;
    assert_eq!(ask(dns("."), address).await, "DNS: malformed answer");
    let address = answering(|query| vec![query.to_owned()]).await;
    assert_eq!(
        ask(dns("."), address).await,
        "DNS: malformed answer",
        "an echo"
    );
    let address = answering(|_| vec![b"\xff\xff garbage".to_vec()]).await;
    assert_eq!(ask_late(dns("."), address).await, "DNS: no answer in 200ms");
    let unused = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    assert_eq!(ask(dns("."), address).await, "DNS: refused");
}

#[tokio::test]
async fn ping_is_answered_by_the_loopback_of_both_families() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: may need root, where ping_group_range allows nobody");
        return;
    }
    let ping = || json!({"type": "Ping"});
    assert_eq!(ask(ping(), ([127, 0, 0, 1], 0).into()).await, "ok");
    let ipv6: SocketAddr = "[::1]:0".parse().unwrap();
    if std::net::UdpSocket::bind(ipv6).is_ok() {
        assert_eq!(ask(ping(), ipv6).await, "ok");
    }
}
