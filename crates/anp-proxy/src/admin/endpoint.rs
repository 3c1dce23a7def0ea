//! `anp-proxy endpoint`.

use serde_json::{Map, Value, json};

use super::{
    args::{EndpointArgs, EndpointCommand, SettingsArgs},
    client::Client,
    list::{all, items, path_of, say},
    table::{number, pairs, sum, table, text},
};
use crate::{config::Loaded, exit::Failure};

/// Runs `endpoint`.
///
/// # Errors
/// The gateway cannot be asked, or refused.
pub(crate) fn endpoint(args: &EndpointArgs, loaded: &Loaded) -> Result<u8, Failure> {
    let client = Client::new(&args.target, loaded)?;
    crate::run::serve(async {
        let json = args.target.json;
        match &args.command {
            EndpointCommand::List => {
                let endpoints = all(&client, "endpoints").await?;
                say(json, &endpoints, || list(&endpoints))?;
            }
            EndpointCommand::Show(args) => {
                let path = path_of("endpoints", &args.name)?;
                let shown = client.ask("GET", &path, None).await?;
                say(json, &shown, || show(&shown))?;
            }
            EndpointCommand::Add(args) => {
                let mut settings = Map::new();
                settings.insert("name".to_owned(), args.name.as_str().into());
                put(&mut settings, args)?;
                let settings = Value::Object(settings);
                let added = client.ask("POST", "/endpoints", Some(&settings)).await?;
                say(json, &added, || line(&added))?;
            }
            EndpointCommand::Change(args) => {
                let path = path_of("endpoints", &args.settings.name)?;
                let (mut shown, seen) = client.ask_if("GET", &path, None, None).await?;
                let settings = shown.get_mut("settings").map(Value::take);
                let Some(Value::Object(mut settings)) = settings else {
                    return Err(Failure::runtime("the gateway told no settings"));
                };
                for key in &args.unset {
                    if settings.remove(key).is_none() {
                        return Err(Failure::usage(format!("--unset {key}: it is not set")));
                    }
                }
                put(&mut settings, &args.settings)?;
                let settings = Value::Object(settings);
                let (changed, _) = client
                    .ask_if("PUT", &path, Some(&settings), seen.as_ref())
                    .await?;
                say(json, &changed, || line(&changed))?;
            }
            EndpointCommand::Remove(args) => {
                let path = path_of("endpoints", &args.name)?;
                let nothing = client.ask("DELETE", &path, None).await?;
                say(json, &nothing, || format!("{} is removed", args.name))?;
            }
        }
        Ok(())
    })
}

/// Puts what the flags say into `settings`.
fn put(settings: &mut Map<String, Value>, args: &SettingsArgs) -> Result<(), Failure> {
    let texts = [
        ("host", &args.host),
        ("path", &args.path),
        ("owner", &args.owner),
        ("max_body_size", &args.max_body_size),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            settings.insert(key.to_owned(), value.as_str().into());
        }
    }
    if !args.receiver.is_empty() {
        settings.insert("receivers".to_owned(), args.receiver.clone().into());
    }
    put_callers(settings, args)?;
    if let Some(max) = args.max_requests {
        settings.insert("max_requests".to_owned(), max.into());
    }
    if args.strip_prefix {
        settings.insert("strip_prefix".to_owned(), true.into());
    }
    for setting in &args.setting {
        let Some((key, value)) = setting.split_once('=') else {
            return Err(Failure::usage(format!(
                "--setting {setting}: expected KEY=VALUE, such as max_requests=100"
            )));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        settings.insert(key.to_owned(), value);
    }
    Ok(())
}

/// Puts what the flags say of callers beside what is said of them already; a list that is given takes
/// the place of the one before.
fn put_callers(settings: &mut Map<String, Value>, args: &SettingsArgs) -> Result<(), Failure> {
    let mut callers = match settings.get("callers") {
        Some(Value::Object(callers)) => callers.clone(),
        _ => Map::new(),
    };
    let users = args.caller_basic.iter().map(|user| {
        let (name, hash) = user.split_once('=').ok_or_else(|| {
            Failure::usage(format!(
                "--caller-basic {user}: expected NAME=HASH, as anp-proxy token new NAME --caller \
                 prints it"
            ))
        })?;
        Ok(json!({"name": name, "hash": hash}))
    });
    let users = users.collect::<Result<Vec<_>, Failure>>()?;
    let texts = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
    for (key, list) in [
        ("dids", texts(&args.caller_did)),
        ("basic", users),
        ("networks", texts(&args.caller_network)),
    ] {
        if !list.is_empty() {
            callers.insert(key.to_owned(), Value::Array(list));
            settings.insert("callers".to_owned(), callers.clone().into());
        }
    }
    Ok(())
}

fn owners(endpoint: &Value) -> String {
    match endpoint.get("owners") {
        Some(Value::Null) => "anyone".to_owned(),
        _ => text(endpoint, "/owners"),
    }
}

/// One endpoint in a line.
fn line(endpoint: &Value) -> String {
    format!(
        "{}: {} → {}",
        text(endpoint, "/name"),
        text(endpoint, "/place"),
        owners(endpoint)
    )
}

fn list(endpoints: &Value) -> String {
    let rows: Vec<_> = items(endpoints, "endpoints")
        .map(|e| {
            let left_out = e.get("active") == Some(&Value::Bool(false));
            [
                text(e, "/name"),
                match left_out {
                    true => "(left out)".to_owned(),
                    false => text(e, "/place"),
                },
                owners(e),
                text(e, "/source"),
                number(e, "/tunnels").to_string(),
                sum(e, "/requests").to_string(),
                match left_out {
                    true => text(e, "/why"),
                    false => String::new(),
                },
            ]
        })
        .collect();
    if rows.is_empty() {
        return "there are no endpoints; anp-proxy endpoint add --help".to_owned();
    }
    let heads = [
        "NAME", "PLACE", "OWNERS", "SOURCE", "TUNNELS", "REQUESTS", "",
    ];
    table(heads, &rows)
}

fn show(endpoint: &Value) -> String {
    let mut lines = vec![
        ("name", text(endpoint, "/name")),
        ("source", text(endpoint, "/source")),
        ("place", text(endpoint, "/place")),
        ("owners", owners(endpoint)),
        ("tunnels", number(endpoint, "/tunnels").to_string()),
        ("requests", sum(endpoint, "/requests").to_string()),
    ];
    if let Some(why) = endpoint.get("why") {
        lines.push(("left out", text(why, "")));
    }
    let settings = endpoint.get("settings").and_then(Value::as_object);
    for (key, value) in settings.into_iter().flatten() {
        if !matches!(key.as_str(), "name" | "owner" | "receivers") {
            lines.push((key, text(value, "")));
        }
    }
    pairs(&lines)
}
