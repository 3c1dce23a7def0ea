//! The DID documents that the gateway hosts: they come and go here.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    Admin, Asked,
    query::{bad, is_like_did, limit, values},
    reply::{Problem, Reply, at, json as answer, nothing, with_type},
};
use crate::{
    documents::{PublishError, Published},
    endpoints::{Change, ChangeError},
};

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let status = match error {
            PublishError::Off
            | PublishError::Taken(_)
            | PublishError::There(_)
            | PublishError::Full => StatusCode::CONFLICT,
            PublishError::NoId
            | PublishError::Did(_)
            | PublishError::Domain(..)
            | PublishError::Reserved
            | PublishError::Document(_)
            | PublishError::NoKey => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}

impl Admin {
    /// A page of documents, by DID.
    pub(super) fn documents(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [after, most] = values(&asked.query, ["after", "limit"])?;
        let after = match after.as_deref() {
            None => "",
            Some(did) if is_like_did(did) => did,
            Some(other) => return Err(bad(format!("after: {other:?} is no DID"))),
        };
        let most = limit(most.as_deref())?;
        let hosted = self.shared.documents.now();
        let mut found = hosted.after(after);
        let shown: Vec<_> = found.by_ref().take(most).collect();
        let last = shown.last().map(|published| published.did().to_string());
        let page = json!({
            "documents": shown.iter().map(|published| line(published)).collect::<Vec<_>>(),
            "total": hosted.len(),
            "next": last.filter(|_| found.next().is_some()),
        });
        Ok(answer(StatusCode::OK, &page))
    }

    /// The document itself.
    pub(super) fn document(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [] = values(&asked.query, [])?;
        let hosted = self.shared.documents.now();
        match hosted.of(&asked.name) {
            Some(published) => {
                let body = published.bytes.clone();
                Ok(with_type(StatusCode::OK, "application/json", body))
            }
            None => Err(ChangeError::NotHosted(asked.name.clone()).into()),
        }
    }

    pub(super) async fn publish(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [] = values(&asked.query, [])?;
        let published = self.shared.documents.read(asked.body.clone())?;
        let change = Change::Publish(published.clone());
        self.shared.endpoints.change(change).await?;
        let reply = answer(StatusCode::CREATED, &line(&published));
        Ok(at(reply, &format!("/documents/{}", published.did())))
    }

    pub(super) async fn withdraw(&self, asked: &Asked) -> Result<Reply, Problem> {
        let [] = values(&asked.query, [])?;
        let change = Change::Withdraw(asked.name.clone());
        self.shared.endpoints.change(change).await?;
        Ok(nothing())
    }
}

fn line(published: &Published) -> Value {
    json!({
        "did": published.did().as_str(),
        "url": published.did().document_url(),
        "bytes": published.bytes.len(),
    })
}
