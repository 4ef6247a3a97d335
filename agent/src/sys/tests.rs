use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::*;
use crate::clock;

/// Two ends of a datagram link, without privileges.
fn link() -> (UdpSocket, UdpSocket) {
    let ours = UdpSocket::bind("127.0.0.1:0").unwrap();
    let theirs = UdpSocket::bind("127.0.0.1:0").unwrap();
    ours.connect(theirs.local_addr().unwrap()).unwrap();
    (ours, theirs)
}

fn message<'a>(head: &'a [u8], body: &'a [u8]) -> Message<'a> {
    Message {
        target: Target::Bound,
        parts: [head, body],
    }
}

#[test]
fn more_messages_than_a_batch_arrive_whole_stamped_and_in_order() {
    let (ours, theirs) = link();
    stamp_arrivals(theirs.as_fd()).unwrap();
    let bodies: Vec<[u8; 2]> = (0..150_u16).map(u16::to_be_bytes).collect();
    let before = clock::wall();
    let sent = SendBatch::new().send(ours.as_fd(), bodies.iter().map(|b| message(b"head", b)));
    assert_eq!((sent.sent, sent.failed), (150, 0));
    let mut batch = ReceiveBatch::new();
    let mut received = Vec::new();
    while let Ok(count) = batch.receive(theirs.as_fd(), usize::MAX) {
        for datagram in (0..count).map_while(|index| batch.get(index)) {
            let stamp = datagram.stamp.unwrap();
            assert!(stamp >= before && stamp <= clock::wall());
            received.push(datagram.bytes.to_vec());
        }
    }
    let expected = bodies.iter().map(|body| [b"head", &body[..]].concat());
    assert!(received.into_iter().eq(expected));
}

#[test]
fn no_more_is_read_than_asked_for() {
    let (ours, theirs) = link();
    SendBatch::new().send(ours.as_fd(), [message(b"a", b""); 10].into_iter());
    let mut batch = ReceiveBatch::new();
    assert_eq!(batch.receive(theirs.as_fd(), 3).unwrap(), 3);
    assert_eq!(batch.receive(theirs.as_fd(), 64).unwrap(), 7);
    let nothing = batch.receive(theirs.as_fd(), 64).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_datagram_that_is_too_long_is_cut_off() {
    let (ours, theirs) = link();
    let long = [7; DATAGRAM + 100];
    SendBatch::new().send(ours.as_fd(), [message(&long, b"")].into_iter());
    let mut batch = ReceiveBatch::new();
    assert_eq!(batch.receive(theirs.as_fd(), 1).unwrap(), 1);
    assert_eq!(batch.get(0).unwrap().bytes.len(), DATAGRAM);
}

#[test]
fn a_message_that_is_refused_does_not_keep_the_next_from_being_sent() {
    let (ours, theirs) = link();
    let too_long = vec![0; 1 << 16];
    let messages = [
        message(b"1", b""),
        message(&too_long, b""),
        message(b"2", b""),
    ];
    let sent = SendBatch::new().send(ours.as_fd(), messages.into_iter());
    assert_eq!((sent.sent, sent.failed), (2, 1));
    let error = sent.error.unwrap();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    let mut batch = ReceiveBatch::new();
    assert_eq!(batch.receive(theirs.as_fd(), 64).unwrap(), 2);
    assert_eq!(batch.get(1).unwrap().bytes, b"2");
}
