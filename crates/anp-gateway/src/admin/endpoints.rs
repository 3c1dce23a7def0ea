//! The endpoints: which there are, and those of the registry come, change and go.

use std::{iter, sync::Arc};

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Admin, Asked,
    overview::by_class,
    query::{bad, is_like_did, limit, values},
    reply::{Problem, Reply, at, json as answer, nothing, tagged},
};
use crate::{
    config::{Endpoint, from_json},
    endpoints::{Change, ChangeError, tag},
    owner::is_name,
    route::{LeftOut, Owners, Served, Source, Table},
};

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let status = match error {
            ChangeError::Taken(_)
            | ChangeError::Configured(_)
            | ChangeError::OfDid(_)
            | ChangeError::NoStore => StatusCode::CONFLICT,
            ChangeError::Document(error) => return error.into(),
            ChangeError::Unknown(_) | ChangeError::NotHosted(_) => StatusCode::NOT_FOUND,
            ChangeError::Changed(_) => StatusCode::PRECONDITION_FAILED,
            ChangeError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            ChangeError::Store(_) | ChangeError::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl Admin {
    /// A page of endpoints, by name. Where an entry of the registry is left out since another has
    /// its name, both are on the same page.
    pub(super) fn endpoints(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [after, most] = values(&asked.query, ["after", "limit"])?;
        let after = match after.as_deref() {
            None => "",
            Some(name) if is_name(name) || is_like_did(name) => name,
            Some(other) => return Err(bad(format!("after: {other:?} names no endpoint"))),
        };
        let most = limit(most.as_deref())?;
        let table = self.shared.routes.now();
        let mut served = table.after(after).peekable();
        let mut left_out = table.left_out_after(after).peekable();
        let mut shown = Vec::new();
        let mut last = None;
        for _ in 0..most {
            let names = [
                served.peek().map(|s| s.name.as_str()),
                left_out.peek().map(|l| l.settings.name.as_str()),
            ];
            let Some(name) = names.into_iter().flatten().min() else {
                break;
            };
            let here = iter::from_fn(|| served.next_if(|s| s.name == name));
            shown.extend(here.map(|served| self.served(served)));
            let here = iter::from_fn(|| left_out.next_if(|l| l.settings.name == name));
            shown.extend(here.map(not_served));
            last = Some(name);
        }
        let more = served.peek().is_some() || left_out.peek().is_some();
        let page = json!({
            "endpoints": shown,
            "total": table.len(),
            "next": last.filter(|_| more),
        });
        Ok(answer(StatusCode::OK, &page))
    }

    pub(super) fn endpoint(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [] = values(&asked.query, [])?;
        self.found(&asked.name, StatusCode::OK)
    }

    pub(super) async fn add_endpoint(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [] = values(&asked.query, [])?;
        let settings = self.read(&asked.body, None)?;
        let name = settings.name.clone();
        self.change(Change::Add(settings)).await?;
        let reply = self.found(&name, StatusCode::CREATED)?;
        Ok(at(reply, &format!("/endpoints/{name}")))
    }

    pub(super) async fn change_endpoint(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [] = values(&asked.query, [])?;
        let settings = self.read(&asked.body, Some(&asked.name))?;
        self.change(Change::Replace(settings, asked.expected.clone()))
            .await?;
        self.found(&asked.name, StatusCode::OK)
    }

    pub(super) async fn remove_endpoint(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [] = values(&asked.query, [])?;
        let expected = asked.expected.clone();
        self.change(Change::Remove(asked.name.clone(), expected))
            .await?;
        Ok(nothing())
    }

    /// The settings in a body, which this gateway could have in its configuration.
    fn read(&self, body: &[u8], named: Option<&str>) -> Result<Arc<Endpoint>, Problem> {
        let settings = read(body, named)?;
        let config = &self.shared.settings.load().config;
        let checked = config.check_owner(&settings);
        let checked = checked.and_then(|()| config.check_token(&settings));
        let checked = checked.and_then(|()| config.check_callers(&settings));
        checked.map_err(|error| invalid(error.to_string()))?;
        Ok(settings)
    }

    async fn change(&self, change: Change) -> Result<(), Problem> {
        Ok(self.shared.endpoints.change(change).await?)
    }

    /// The endpoint of this name; the one that is served, where there are two.
    fn found(&self, name: &str, status: StatusCode) -> Result<Reply, Problem> {
        let table: &Table = &self.shared.routes.now();
        let (shown, settings) = match (table.named(name), table.left_out(name)) {
            (Some(served), _) => (self.served(served), &served.settings),
            (None, Some(left_out)) => (not_served(left_out), &left_out.settings),
            (None, None) => return Err(ChangeError::Unknown(name.to_owned()).into()),
        };
        Ok(tagged(answer(status, &shown), &tag(settings)))
    }

    fn served(&self, served: &Arc<Served>) -> Value {
        let mut tunnels = 0;
        let registry = self.shared.tunnels.registry();
        registry.members(&served.pool, &mut |members| tunnels = members.len());
        json!({
            "name": served.name,
            "source": served.source.word(),
            "active": true,
            "place": served.place.to_string(),
            "owners": match &served.owners {
                Owners::Anyone => None,
                Owners::These(owners) => {
                    Some(owners.iter().map(ToString::to_string).collect::<Vec<_>>())
                }
            },
            "settings": *served.settings,
            "tunnels": tunnels,
            "requests": by_class(|class| served.pool.counted(class)),
        })
    }
}

fn not_served(left_out: &LeftOut) -> Value {
    let LeftOut { settings, why } = left_out;
    json!({
        "name": settings.name,
        "source": Source::Registry.word(),
        "active": false,
        "why": why.to_string(),
        "owners": settings.owners().map(|owner| owner.to_string()).collect::<Vec<_>>(),
        "settings": **settings,
    })
}

/// The settings in a body: those of the endpoint `named`, where its name is known already.
fn read(body: &[u8], named: Option<&str>) -> Result<Arc<Endpoint>, Problem> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| bad(format!("the body is no JSON: {error}")))?;
    let Value::Object(mut fields) = value else {
        return Err(invalid(
            "expected an object with the settings of an endpoint",
        ));
    };
    if let Some(name) = named {
        let given = fields.entry("name").or_insert_with(|| name.into());
        if *given != *name {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                format!(
                    "name: this is endpoint {name:?}; to rename it, add another and remove this one"
                ),
            ));
        }
    }
    let settings: Endpoint = from_json(&fields).map_err(|error| invalid(error.to_string()))?;
    settings
        .validate()
        .map_err(|error| invalid(error.to_string()))?;
    Ok(Arc::new(settings))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
