//! How much waits unsent in the system.

use std::io;

use tokio::net::TcpStream;

/// Lets little wait unsent in the system: on a tunnel it could not be overtaken by a frame of a
/// higher class (ANPX 3.5), and toward an app that does not read it would pass for bytes that were
/// taken, and windows grow.
pub(crate) fn hold_little(io: &TcpStream) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(io).set_tcp_notsent_lowat(128 << 10)?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = io;
    Ok(())
}
