//! The commands that look at a running gateway and change it, through its admin listener.

mod args;
mod client;
mod document;
mod endpoint;
mod table;

use serde_json::{Value, json};

pub(crate) use args::{AdminArgs, EndpointArgs, Target};
pub(crate) use document::{hosted, list_documents, publish, publish_quietly, withdraw};
pub(crate) use endpoint::endpoint;

use crate::{config::Loaded, exit::Failure, stdout};
use args::{AdminCommand, CloseArgs};
use client::Client;
use table::{bytes, number, pairs, span, sum, table, text};

/// Items of one question for a list.
const PAGE: usize = 1000;

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

/// Prints an answer as it came, or what `people` make of it.
///
/// # Errors
/// It cannot be printed.
fn say(json: bool, value: &Value, people: impl FnOnce() -> String) -> Result<(), Failure> {
    match json {
        true => stdout::say(&format!("{value:#}")),
        false => stdout::say(&people()),
    }
}

/// All pages of a list.
async fn all(client: &Client, list: &str) -> Result<Value, Failure> {
    let mut items = Vec::new();
    let mut after = String::new();
    loop {
        let target = format!("/{list}?limit={PAGE}{after}");
        let mut page = client.ask("GET", &target, None).await?;
        if let Some(Value::Array(more)) = page.get_mut(list).map(Value::take) {
            items.extend(more);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={}", escaped(next)),
            _ => return Ok(json!({ list: items })),
        }
    }
}

/// The path of `name`, which stands in it as it is.
fn path_of(list: &str, name: &str) -> Result<String, Failure> {
    // A DID, too, stands there as it is.
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'%' | b'~');
    match !name.is_empty() && name.bytes().all(plain) {
        true => Ok(format!("/{list}/{name}")),
        false => Err(Failure::usage(format!(
            "{name:?} is no name: expected 1 to 64 of 0-9 A-Z a-z . _ -, or a DID"
        ))),
    }
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

/// Text as it can stand in a query.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => escaped.push(char::from(byte)),
            false => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
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
    let keys = |pointer| text(done, pointer).replace(',', " ");
    let changed = match keys("/changed") {
        none if none == "-" => "nothing has changed".to_owned(),
        keys => format!("in effect: {keys}"),
    };
    match keys("/needs_restart") {
        none if none == "-" => changed,
        keys => format!("{changed}\nonly with a restart or --replace: {keys}"),
    }
}

/// The items of a list.
fn items<'v>(value: &'v Value, list: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
