//! Ways into other network namespaces.

use std::{
    fs::File,
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A new address here; whoever connects with it speaks with `address` in that namespace.
pub(crate) fn to(namespace: &str, address: SocketAddr) -> io::Result<SocketAddr> {
    let namespace = File::open(namespace)?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let here = listener.local_addr()?;
    // Sockets stay in the namespace that they were made in, and threads in theirs: this one never comes back.
    thread::spawn(move || {
        if move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
            return;
        }
        for outside in listener.incoming().flatten() {
            if let Ok(inside) = TcpStream::connect(address) {
                let _ = carry(&outside, &inside).and_then(|()| carry(&inside, &outside));
            }
        }
    });
    Ok(here)
}

/// One direction, on a thread of its own.
fn carry(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    Ok(())
}
