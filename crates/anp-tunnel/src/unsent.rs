//! How much waits unsent in the system.

use std::io;

use tokio::net::TcpStream;

/// Lets at most 128 KiB and what is written at once wait unsent in the system, where it can be told so:
/// on a tunnel they could not be overtaken by a frame of a higher class (ANPX 3.5), and toward a caller
/// or an app who does not read they would pass for bytes that were taken, and windows grow.
///
/// # Errors
/// Those of `setsockopt`.
pub fn limit_unsent(io: &TcpStream) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(io).set_tcp_notsent_lowat(128 << 10)?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = io;
    Ok(())
}
