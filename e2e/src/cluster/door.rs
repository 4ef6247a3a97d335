//! A door from the machine's loopback into the control plane's namespace, so that kubectl works in any shell.
//!
//! Listens on a loopback port that was free. Threads live until the process ends.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Result;

use super::ControlPlane;

/// Opens the door; where it is.
///
/// # Errors
/// When there is no free port.
pub fn open(plane: &ControlPlane) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let at = listener.local_addr()?;
    let (namespace, server) = (plane.host().namespace().clone(), plane.address());
    thread::Builder::new().name("door".into()).spawn(move || {
        for outside in listener.incoming().flatten() {
            // A server that is away closes the connection, which kubectl reports well enough.
            if let Ok(inside) = namespace.run(|| Ok(TcpStream::connect(server)?)) {
                drop(join(outside, inside));
            }
        }
    })?;
    Ok(at)
}

fn join(outside: TcpStream, inside: TcpStream) -> io::Result<()> {
    pass(outside.try_clone()?, inside.try_clone()?)?;
    pass(inside, outside)
}

fn pass(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let passing = move || {
        // Either end may go at any time.
        io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    };
    thread::Builder::new().name("door".into()).spawn(passing)?;
    Ok(())
}
