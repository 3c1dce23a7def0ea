//! `did check`: the steps of a gateway, one after the other, until one fails.

use std::{fmt::Write as _, sync::Arc};

use anp_auth::{
    Did, Document,
    resolver::{HttpsResolver, ResolveError, ResolverConfig, Step},
};

use anp_gateway::config::Auth;

use super::{args::CheckArgs, show, subject::Subject};
use crate::{
    admin,
    config::Loaded,
    exit::{FAILURE, Failure, SUCCESS},
    stdout,
};

/// Fetches a document and says what happened. Where there is a configuration of a gateway that knows
/// identities, it is done as that gateway does it.
///
/// # Errors
/// What was given cannot be used; that a gateway would refuse is the exit code.
pub(super) fn run(args: &CheckArgs, loaded: &Loaded) -> Result<u8, Failure> {
    let subject = Subject::read(&args.subject)?;
    let did = subject.did();
    let gateway = &loaded.config.gateway;
    let config = match &gateway.auth {
        Some(auth) => configured(args, auth)?,
        None => by_flags(args, did),
    };
    let resolver =
        HttpsResolver::new(&config).map_err(|error| Failure::usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start an event loop: {error}")))?;
    stdout::say(&format!("ok    {did} is a DID that gateways read"))?;
    match &gateway.auth {
        Some(_) => admission(gateway, did)?,
        None if did.port().is_some_and(|port| port != 443) => stdout::say(
            "note  it has a port; a gateway must allow that port (gateway.auth.resolver.allowed_ports)",
        )?,
        None => {}
    }
    let published = if gateway.auth.as_ref().is_some_and(|auth| auth.hosts(did)) {
        stdout::say("ok    the gateway hosts the documents of its domain, and is asked for it")?;
        match admin::hosted(did, loaded) {
            Ok(document) => Arc::new(document),
            Err(failure) => {
                stdout::say(&format!(
                    "FAIL  {failure}\n      see anp-proxy did list and publish"
                ))?;
                return Ok(FAILURE);
            }
        }
    } else {
        let mut said = Ok(());
        let found = runtime.block_on(resolver.explain(did, |step| {
            if said.is_ok() {
                said = stdout::say(&line(step));
            }
        }));
        said?;
        match found {
            Ok(document) => document,
            Err(error) => {
                stdout::say(&format!("FAIL  {error}{}", advice(&error)))?;
                return Ok(FAILURE);
            }
        }
    };
    let bound = match did.binding() {
        Some(_) => ", signed with the key that the DID names",
        None => "",
    };
    stdout::say(&format!("ok    it is the document of this DID{bound}"))?;
    let mut text = show::keys(&published);
    let usable = published.fragments().any(|f| published.key(f).is_ok());
    let same = match &subject {
        Subject::Did(_) => true,
        Subject::Document(local) => agree(local, &published),
    };
    if !usable {
        text.push_str("FAIL  no key in \"authentication\" can be used\n");
    } else if !same {
        let _ = writeln!(
            text,
            "FAIL  what is published has other keys than {}; publish that file",
            args.subject
        );
    } else {
        text.push_str("ok    a gateway that allows this DID would accept it\n");
    }
    stdout::say(text.trim_end())?;
    Ok(match usable && same {
        true => SUCCESS,
        false => FAILURE,
    })
}

/// How the gateway of a configuration fetches.
fn configured(args: &CheckArgs, auth: &Auth) -> Result<ResolverConfig, Failure> {
    if args.ca_file.is_some()
        || !(args.at.is_empty() && args.allow_network.is_empty() && args.allow_port.is_empty())
    {
        return Err(Failure::usage(
            "--ca-file, --at, --allow-network and --allow-port are for a check without a \
             configuration; the one that is given has [gateway.auth.resolver]",
        ));
    }
    let config = auth.resolver.config();
    config.map_err(|error| Failure::usage(format!("gateway.auth.resolver.documents: {error}")))
}

/// How a gateway fetches that these flags describe.
fn by_flags(args: &CheckArgs, did: &Did) -> ResolverConfig {
    let mut ports = args.allow_port.clone();
    ports.push(443);
    if args.allow_port.is_empty() {
        ports.extend(did.port());
    }
    let networks = args.allow_network.clone();
    let at = args.at.iter();
    ResolverConfig {
        ca_file: args.ca_file.clone(),
        hosts: at.map(|at| (at.host.clone(), at.place)).collect(),
        also_allow: Some(Arc::new(move |address| {
            networks.iter().any(|network| network.contains(address))
        })),
        allowed_ports: ports,
        ..ResolverConfig::default()
    }
}

/// Says whether the configuration lets the DID come at all: nothing is fetched for others.
///
/// # Errors
/// It cannot be said.
fn admission(gateway: &anp_gateway::Config, did: &Did) -> Result<(), Failure> {
    stdout::say(match gateway.admits(did) {
        true => "ok    the configuration lets it come",
        false => {
            "note  the configuration does not let it come: neither gateway.auth.allow, nor an owner of \
             an endpoint, nor its name; only an owner in the registry of endpoints can"
        }
    })
}

/// True if both let the same keys sign.
fn agree(a: &Document, b: &Document) -> bool {
    a.has_the_keys_of(b) && b.has_the_keys_of(a)
}

fn line(step: Step<'_>) -> String {
    match step {
        Step::Known => "ok    its document is one of gateway.auth.resolver.documents".to_owned(),
        Step::Url(url) => format!("ok    its document is at {url}"),
        Step::Configured(at) => format!("ok    the host is configured to be at {at}"),
        Step::LookedUp(sockets) => {
            let addresses: Vec<_> = sockets.iter().map(|s| s.ip().to_string()).collect();
            format!("ok    the host has the addresses {}", addresses.join(", "))
        }
        Step::Connected(at) => format!("ok    connected to {at}"),
        Step::Secured => "ok    its certificate is valid for the host".to_owned(),
        Step::Answered(status) => format!("ok    it answered HTTP {}", status.as_u16()),
        Step::Read { length, fresh_for } => {
            let seconds = fresh_for.as_secs();
            format!("ok    read {length} bytes, which a gateway keeps for {seconds} s")
        }
        _ => "ok".to_owned(),
    }
}

/// What to do about a failure.
fn advice(error: &ResolveError) -> &'static str {
    match error {
        ResolveError::Lookup { .. } => {
            "\n      is the name right, and in the public DNS? --at HOST=ADDRESS goes without"
        }
        ResolveError::Address(_) => {
            "\n      gateways fetch from public addresses only; for a lab see --allow-network, \
             and gateway.auth.resolver.allowed_networks"
        }
        ResolveError::Connect(_) => "\n      does a web server listen there, on this port?",
        ResolveError::Tls(_) => {
            "\n      the certificate must be for the host of the DID, valid, and of an authority \
             that is known; --ca-file names another"
        }
        ResolveError::Redirect(_) => "\n      serve the document itself at that very URL",
        ResolveError::Status(404) => "\n      publish did.json at that very URL",
        ResolveError::Status(_) => "\n      it must answer 200 to anybody",
        ResolveError::Coded => "\n      turn compression off for this file",
        ResolveError::Document(anp_auth::DocumentError::Unbound) => {
            "\n      was it changed after it was made? publish did.json byte for byte"
        }
        _ => "",
    }
}
