//! `did new`: a key, a document, and what to do with them.

use std::{fs::OpenOptions, io::Write, path::Path};

use anp_auth::{NewIdentity, create, write_secret};

use super::args::NewArgs;
use crate::{SUCCESS, admin, config::Loaded, exit::Failure, stdout};

/// Makes an identity, writes its files and, where told of a gateway's configuration, has that gateway
/// host the document.
///
/// # Errors
/// The place cannot be that of a DID, a file is there already or cannot be written, or the gateway
/// refused.
pub(super) fn run(args: &NewArgs, gateway: Option<&Loaded>) -> Result<u8, Failure> {
    let new = parse(&args.place, args.key.into())?;
    let identity =
        create(&new).map_err(|error| Failure::usage(format!("{}: {error}", args.place)))?;
    let (document, key) = (args.out.join("did.json"), args.out.join("key.pem"));
    std::fs::create_dir_all(&args.out)
        .map_err(|error| Failure::runtime(format!("{}: {error}", args.out.display())))?;
    if document.exists() {
        let name = document.display();
        return Err(Failure::runtime(format!(
            "{name} is there already; choose another directory with --out"
        )));
    }
    // The key first: a document without its key is of no use to anybody.
    write_secret(&key, &identity.private_key_pem)
        .map_err(|error| Failure::runtime(error.to_string()))?;
    write(&document, &format!("{:#}\n", identity.document))
        .map_err(|error| Failure::runtime(format!("{}: {error}", document.display())))?;
    let url = identity.did.document_url();
    let hosting = match gateway {
        None => format!("publish it at {url}"),
        // The files stay, whatever comes of it: `did publish` tries again.
        Some(loaded) => {
            admin::publish_quietly(&args.target, &document, loaded)?;
            format!("hosted by the gateway, for {url}")
        }
    };
    stdout::say(&format!(
        "{did}

document     {document}
             {hosting}
private key  {key}
             stays here; whoever has it is {did}

then         anp-proxy did check {document}
             anp-proxy receiver --did-document {document} --did-key {key} …",
        did = identity.did,
        document = document.display(),
        key = key.display(),
    ))?;
    Ok(SUCCESS)
}

/// Reads `HOST[:PORT][/PATH]`, with `https://` before it if somebody copies a URL.
fn parse(place: &str, kind: anp_auth::KeyKind) -> Result<NewIdentity, Failure> {
    let text = place.strip_prefix("https://").unwrap_or(place);
    let (authority, path) = text.split_once('/').unwrap_or((text, ""));
    let (host, port) = match authority.split_once(':') {
        None => (authority, None),
        Some((host, digits)) => {
            let port = digits.parse::<u16>().ok().filter(|port| *port > 0);
            let port = port.ok_or_else(|| {
                Failure::usage(format!(
                    "{place}: expected a port from 1 to 65535, got {digits:?}"
                ))
            })?;
            (host, (port != 443).then_some(port))
        }
    };
    let path = path.trim_end_matches('/');
    let segments = path.split('/').filter(|_| !path.is_empty());
    Ok(NewIdentity {
        host: host.to_ascii_lowercase(),
        port,
        path: segments.map(str::to_owned).collect(),
        kind,
    })
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut opened = OpenOptions::new().write(true).create_new(true).open(file)?;
    opened.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use anp_auth::KeyKind;

    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        for (place, host, port, path) in [
            ("example.com", "example.com", None, &[][..]),
            ("Example.com/", "example.com", None, &[]),
            (
                "example.com:8443/a/b",
                "example.com",
                Some(8443),
                &["a", "b"],
            ),
            ("https://example.com:443/a/", "example.com", None, &["a"]),
        ] {
            let new = parse(place, KeyKind::Ed25519).unwrap();
            assert_eq!((new.host.as_str(), new.port), (host, port), "{place}");
            assert_eq!(new.path, path, "{place}");
        }
        assert!(parse("example.com:x", KeyKind::Ed25519).is_err());
        assert!(parse("example.com:0", KeyKind::Ed25519).is_err());
    }
}
