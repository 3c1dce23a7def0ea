//! Listeners that a service manager opened for us (systemd's socket units, `sd_listen_fds(3)`).

use anp_gateway::Listeners;

use crate::exit::Failure;

/// What `LISTEN_FDS` and `LISTEN_FDNAMES` say, where `LISTEN_PID` is this process. Without names
/// the first is for callers, the second for receivers, the third for health and metrics, the fourth for
/// callers who are sent on to https.
///
/// # Errors
/// A name is unknown or given twice, or a descriptor is no TCP listener.
#[cfg(unix)]
pub(super) fn from_environment() -> Result<Listeners, Failure> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut given = listenfd::ListenFd::from_env();
    let mut listeners = Listeners::default();
    for (index, name) in names_of(given.len(), &names).into_iter().enumerate() {
        let listener = given.take_tcp_listener(index).map_err(|error| {
            Failure::usage(format!(
                "LISTEN_FDS: the socket \"{name}\" cannot be used: {error}"
            ))
        })?;
        let Some(listener) = listener else {
            continue;
        };
        let place = match name.as_str() {
            "public" => {
                listeners.public.push(listener);
                continue;
            }
            "tunnel" => &mut listeners.tunnel,
            "admin" => &mut listeners.admin,
            "redirect" => &mut listeners.redirect,
            _ => {
                return Err(Failure::usage(format!(
                    "LISTEN_FDNAMES: expected public, tunnel, admin or redirect, found \"{name}\": set \
                     FileDescriptorName= in the socket unit"
                )));
            }
        };
        if place.replace(listener).is_some() {
            return Err(Failure::usage(format!(
                "LISTEN_FDNAMES: expected one socket called \"{name}\", found two"
            )));
        }
    }
    Ok(listeners)
}

/// None, on systems that pass none.
#[cfg(not(unix))]
pub(super) fn from_environment() -> Result<Listeners, Failure> {
    Ok(Listeners::default())
}

/// The names of `count` sockets.
#[cfg(unix)]
fn names_of(count: usize, names: &str) -> Vec<String> {
    let usual = ["public", "tunnel", "admin", "redirect"];
    let given: Vec<&str> = names.split(':').filter(|name| !name.is_empty()).collect();
    (0..count)
        .map(|index| {
            let name = match given.is_empty() {
                true => usual.get(index),
                false => given.get(index),
            };
            (*name.unwrap_or(&"unknown")).to_owned()
        })
        .collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_or_usual() {
        assert_eq!(names_of(2, ""), ["public", "tunnel"]);
        assert_eq!(names_of(4, "")[2..], ["admin", "redirect"]);
        assert_eq!(names_of(2, "tunnel:public"), ["tunnel", "public"]);
        assert_eq!(names_of(2, "tunnel"), ["tunnel", "unknown"]);
    }
}
