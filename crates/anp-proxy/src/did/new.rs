//! `did new`: a key, a document, and what to do with them.

use std::{fs::OpenOptions, io::Write, path::Path};

use anp_auth::{NewIdentity, create, write_secret};

use super::args::NewArgs;
use crate::{
    admin::{self, Target},
    config::Loaded,
    exit::{Failure, SUCCESS},
    stdout,
};

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
    let publish = format!(
        "anp-proxy did publish {}{}",
        document.display(),
        flags(&args.target)
    );
    if document.exists() {
        let name = document.display();
        let goes_on = match gateway {
            Some(_) => format!("go on with it by: {publish}\n       or "),
            None => String::new(),
        };
        return Err(Failure::runtime(format!(
            "{name} is there already; {goes_on}choose another directory with --out"
        )));
    }
    // The key first: a document without its key is of no use to anybody.
    write_secret(&key, &identity.private_key_pem)
        .map_err(|error| Failure::runtime(error.to_string()))?;
    write(&document, &format!("{:#}\n", identity.document))
        .map_err(|error| Failure::runtime(format!("{}: {error}", document.display())))?;
    let url = identity.did.document_url();
    let (hosting, next) = match gateway {
        None => (
            format!("publish it at {url}"),
            format!("anp-proxy did check {}", document.display()),
        ),
        // The files stay, whatever comes of it: `did publish` tries again.
        Some(loaded) => {
            let published = admin::publish_quietly(&args.target, &document, loaded);
            published.map_err(|failure| {
                failure.with(&format!(
                    "\n       {} and {} are made; once that is mended go on by: {publish}",
                    document.display(),
                    key.display()
                ))
            })?;
            // Who hosts it knows it, wherever that gateway can be reached from.
            (
                format!("hosted by the gateway, for {url}"),
                format!("anp-proxy did list{}", flags(&args.target)),
            )
        }
    };
    stdout::say(&format!(
        "{did}

document     {document}
             {hosting}
private key  {key}
             stays here; whoever has it is {did}

then         {next}
             anp-proxy receiver --did-document {document} --did-key {key} …",
        did = identity.did,
        document = document.display(),
        key = key.display(),
    ))?;
    Ok(SUCCESS)
}

/// The flags that lead another command to the same gateway.
fn flags(target: &Target) -> String {
    let mut flags = String::new();
    if let Some(url) = &target.admin {
        flags.push_str(&format!(" --admin {url}"));
    }
    if let Some(file) = &target.admin_token_file {
        flags.push_str(&format!(" --admin-token-file {}", file.display()));
    }
    flags
}

/// Reads `HOST[:PORT][/PATH]`, with `https://` before it if somebody copies a URL.
fn parse(place: &str, kind: anp_auth::KeyKind) -> Result<NewIdentity, Failure> {
    if place.starts_with("did:") {
        return Err(Failure::usage(format!(
            "{place}: expected where the document will be, and no DID, which is made of that{}",
            place_of(place).map_or_else(String::new, |place| format!("; write {place}"))
        )));
    }
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

/// The place of the document that whoever wrote this DID has in mind.
fn place_of(did: &str) -> Option<String> {
    let mut parts = did.strip_prefix("did:wba:")?.split(':');
    // A port is written with its colon encoded, so that it is no segment.
    let host = parts.next()?.replace("%3A", ":").replace("%3a", ":");
    let place: Vec<_> = std::iter::once(host.as_str()).chain(parts).collect();
    Some(place.join("/"))
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
        for (did, meant) in [
            ("did:wba:example.com:x", "; write example.com/x"),
            (
                "did:wba:example.com%3A8443:a:b",
                "; write example.com:8443/a/b",
            ),
            ("did:web:example.com", ""),
        ] {
            let error = parse(did, KeyKind::Ed25519).unwrap_err().to_string();
            let expected = format!(
                "{did}: expected where the document will be, and no DID, which is made of that{meant}"
            );
            assert_eq!(error, expected);
        }
        assert!(parse("example.com:0", KeyKind::Ed25519).is_err());
    }
}
