//! Says at the start which apps cannot be reached. The receiver serves all the same: an app may
//! come later, and is tried anew for every request.

use std::{io, time::Duration};

use anp_receiver::{AppPlace, Config};
use tokio::{net::TcpStream, time::timeout};

/// Tries each app of `config` once and warns of those that take no connection.
pub(super) async fn warn_unreachable(config: Config) {
    for app in &config.to {
        if let Err(error) = reach(app.place(), config.app_connect_timeout.0).await {
            tracing::warn!(
                "nothing answers at {app} ({error}); requests get 502 until an app listens there"
            );
        }
    }
}

async fn reach(place: &AppPlace, limit: Duration) -> io::Result<()> {
    let connect = async {
        match place {
            AppPlace::Tcp { host, port } => {
                TcpStream::connect((host.as_str(), *port)).await.map(drop)
            }
            #[cfg(unix)]
            AppPlace::Unix(path) => tokio::net::UnixStream::connect(path).await.map(drop),
            #[cfg(not(unix))]
            AppPlace::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    };
    match timeout(limit, connect).await {
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_is_reached_and_a_missing_socket_is_not() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let place = AppPlace::Tcp {
            host: "127.0.0.1".to_owned(),
            port,
        };
        reach(&place, Duration::from_secs(5)).await.unwrap();
        let place = AppPlace::Unix("/nonexistent/app.sock".into());
        assert!(reach(&place, Duration::from_secs(5)).await.is_err());
    }
}
