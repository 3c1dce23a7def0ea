//! The commands that look at a running gateway and change it, through its admin listener.

mod args;
mod client;
mod document;
mod endpoint;
mod list;
mod table;

use serde_json::{Value, json};

pub(crate) use args::{AdminArgs, EndpointArgs, Target};
pub(crate) use document::{hosted, list_documents, publish, publish_quietly, withdraw};
pub(crate) use endpoint::endpoint;

use crate::{config::Loaded, exit::Failure};
use args::{AdminCommand, CloseArgs};
use client::Client;
use list::{all, escaped, items, path_of, say};
use table::{bytes, number, pairs, span, sum, table, text};

/// Runs `admin`.
///
/// # Errors
/// The gateway cannot be asked, or refused.
pub(crate) fn admin(args: &AdminArgs, loaded: &Loaded) -> Result<u8, Failure> {
    let client = Client::new(&args.target, loaded)?;
    crate::run::serve(async {
        let json = args.target.json;
        match &args.command {
            AdminCommand::Stats => {
                let stats = client.ask("GET", "/stats", None).await?;
                say(json, &stats, || stats_of(&stats))?;
            }
            AdminCommand::Tunnels => {
                let tunnels = all(&client, "tunnels").await?;
                say(json, &tunnels, || tunnels_of(&tunnels))?;
            }
            AdminCommand::Close(close) => {
                let done = client.ask("DELETE", &closing(close)?, None).await?;
                say(json, &done, || match close.now {
                    true => format!("{} is closed", text(&done, "/id")),
                    false => format!("{} finishes what is under way", text(&done, "/id")),
                })?;
            }
            AdminCommand::Reload => {
                let done = client.ask("POST", "/reload", Some(&json!({}))).await?;
                say(json, &done, || reloaded(&done))?;
            }
            AdminCommand::Config => {
                let config = client.ask("GET", "/config", None).await?;
                let toml = toml_edit::ser::to_string_pretty(&config);
                let toml = toml.map_err(|error| Failure::runtime(error.to_string()))?;
                say(json, &config, || toml.trim_end().to_owned())?;
            }
        }
        Ok(())
    })
}

fn closing(args: &CloseArgs) -> Result<String, Failure> {
    let mut target = path_of("tunnels", &args.id)?;
    target += if args.now {
        "?mode=close"
    } else {
        "?mode=drain"
    };
    if let Some(reason) = &args.reason {
        target += &format!("&reason={}", escaped(reason));
    }
    Ok(target)
}

fn stats_of(stats: &Value) -> String {
    let classes = ["2xx", "3xx", "4xx", "5xx", "aborted"];
    let classes = classes.map(|class| {
        let count = number(stats, &format!("/requests/over/{class}"));
        format!("{count} {class}")
    });
    pairs(&[
        ("version", text(stats, "/version")),
        ("state", text(stats, "/state")),
        ("up", span(number(stats, "/uptime_seconds"))),
        ("workers", text(stats, "/workers")),
        ("connections", text(stats, "/connections")),
        ("refused", text(stats, "/connections_refused")),
        ("received", bytes(number(stats, "/bytes/received"))),
        ("sent", bytes(number(stats, "/bytes/sent"))),
        ("requests now", text(stats, "/requests/in_flight")),
        (
            "requests over",
            format!("{}: {}", sum(stats, "/requests/over"), classes.join(", ")),
        ),
        ("queued", text(stats, "/requests/queued")),
        ("retries", text(stats, "/requests/retries")),
        ("tunnels", text(stats, "/tunnels")),
        ("streams", text(stats, "/streams")),
        (
            "endpoints",
            format!(
                "{} configured, {} of the registry, {} of DIDs, {} left out",
                text(stats, "/endpoints/config"),
                text(stats, "/endpoints/registry"),
                text(stats, "/endpoints/did"),
                text(stats, "/endpoints/left_out"),
            ),
        ),
    ])
}

fn tunnels_of(tunnels: &Value) -> String {
    let rows: Vec<_> = items(tunnels, "tunnels")
        .map(|t| {
            let trip = t.get("round_trip_ms").and_then(Value::as_f64);
            let endpoints = match number(t, "/endpoint_count") {
                0..=3 => text(t, "/endpoints"),
                many => format!("{many} endpoints"),
            };
            [
                text(t, "/id"),
                text(t, "/owner"),
                text(t, "/receiver"),
                text(t, "/peer"),
                text(t, "/version"),
                text(t, "/state"),
                span(number(t, "/age_seconds")),
                trip.map_or_else(|| "-".to_owned(), |trip| format!("{trip:.1} ms")),
                text(t, "/streams"),
                bytes(number(t, "/bytes/received")),
                bytes(number(t, "/bytes/sent")),
                endpoints,
            ]
        })
        .collect();
    if rows.is_empty() {
        return "no tunnel is connected".to_owned();
    }
    let heads = [
        "ID",
        "OWNER",
        "RECEIVER",
        "PEER",
        "ANPX",
        "STATE",
        "AGE",
        "RTT",
        "STREAMS",
        "RECEIVED",
        "SENT",
        "ENDPOINTS",
    ];
    table(heads, &rows)
}

fn reloaded(done: &Value) -> String {
    let keys = |pointer| match text(done, pointer).replace(',', " ") {
        none if none == "-" => None,
        keys => Some(keys),
    };
    let changed = keys("/changed").map(|keys| format!("in effect: {keys}"));
    let later = keys("/needs_restart");
    let later = later.map(|keys| format!("only with a restart or --replace: {keys}"));
    match (changed, later) {
        (None, None) => "nothing of [gateway] has changed".to_owned(),
        (changed, later) => [changed, later]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("\n"),
    }
}
