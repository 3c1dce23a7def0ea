//! CORS at the gateway, in place of the app's (fetch.spec.whatwg.org, "CORS protocol").

use anpx::Fields;
use bytes::Bytes;

use crate::config;

/// Longest list of headers a preflight may ask for, in bytes: browsers send names of a script.
const MAX_ASKED: usize = 4096;

/// The rules of an endpoint, as they go into fields.
#[derive(Debug)]
pub(super) struct Cors {
    /// `None` where all may.
    origins: Option<Vec<String>>,
    methods: Names,
    headers: Names,
    expose: Bytes,
    credentials: bool,
    max_age: Bytes,
}

/// What a script may use.
#[derive(Debug)]
enum Names {
    /// Whatever it asks for.
    All,
    /// These, as a list.
    These(Bytes),
}

impl Names {
    fn new(names: &[String]) -> Self {
        match names.iter().any(|n| n == "*") {
            true => Self::All,
            false => Self::These(names.join(", ").into()),
        }
    }

    /// The list to answer with; nothing where there is none.
    fn to(&self, asked: Option<&Bytes>) -> Option<Bytes> {
        match self {
            Self::These(names) => Some(names.clone()).filter(|n| !n.is_empty()),
            // `*` would be a header called so where there are credentials, and never means
            // `authorization`.
            Self::All => asked.cloned(),
        }
    }
}

/// What one request's response says of CORS.
#[derive(Debug)]
pub(super) struct Grant {
    /// The value of `access-control-allow-origin`, where its origin may read the response.
    origin: Option<Bytes>,
    /// The response depends on who asks.
    varies: bool,
    pub(super) preflight: Option<Preflight>,
}

/// The question a browser asks before a request that no form could make.
#[derive(Debug)]
pub(super) struct Preflight {
    method: Bytes,
    headers: Option<Bytes>,
}

impl Cors {
    /// The rules of a valid configuration.
    pub(super) fn new(config: &config::Cors) -> Self {
        let all = config.origins.iter().any(|o| o == "*");
        Self {
            origins: (!all).then(|| config.origins.clone()),
            methods: Names::new(&config.methods),
            headers: Names::new(&config.headers),
            expose: config.expose.join(", ").into(),
            credentials: config.credentials,
            max_age: config.max_age.0.as_secs().to_string().into(),
        }
    }

    /// What to say to a request of `method` with these fields.
    pub(super) fn grant(&self, method: &[u8], fields: &Fields) -> Grant {
        let origin = fields.get("origin");
        let allowed = match &self.origins {
            None => Some(Bytes::from_static(b"*")),
            Some(origins) => origin
                .filter(|origin| origins.iter().any(|o| o.as_bytes() == *origin))
                .map(|origin| fields.share(origin)),
        };
        let asked = fields.get("access-control-request-method");
        let preflight = match (origin, asked) {
            (Some(_), Some(asked)) if method == b"OPTIONS" => Some(Preflight {
                method: fields.share(asked),
                headers: fields
                    .get("access-control-request-headers")
                    .filter(|h| h.len() <= MAX_ASKED)
                    .map(|h| fields.share(h)),
            }),
            _ => None,
        };
        Grant {
            origin: allowed,
            varies: self.origins.is_some(),
            preflight,
        }
    }

    /// Gives `add` the fields of a response.
    pub(super) fn fields(&self, grant: &Grant, mut add: impl FnMut(&'static str, Bytes)) {
        if grant.varies {
            add("vary", Bytes::from_static(b"origin"));
        }
        let Some(origin) = &grant.origin else {
            return;
        };
        add("access-control-allow-origin", origin.clone());
        if self.credentials {
            add(
                "access-control-allow-credentials",
                Bytes::from_static(b"true"),
            );
        }
        let Some(preflight) = &grant.preflight else {
            if !self.expose.is_empty() {
                add("access-control-expose-headers", self.expose.clone());
            }
            return;
        };
        for (name, value) in [
            (
                "access-control-allow-methods",
                self.methods.to(Some(&preflight.method)),
            ),
            (
                "access-control-allow-headers",
                self.headers.to(preflight.headers.as_ref()),
            ),
            ("access-control-max-age", Some(self.max_age.clone())),
            // Caches do not keep answers to OPTIONS; what sits in front may be odd, though.
            (
                "vary",
                Some(Bytes::from_static(
                    b"access-control-request-method, access-control-request-headers",
                )),
            ),
        ] {
            if let Some(value) = value {
                add(name, value);
            }
        }
    }
}

/// True for a field that only the gateway sets where it does CORS.
pub(super) fn is_cors(name: &[u8]) -> bool {
    name.starts_with(b"access-control-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(toml: serde_json::Value) -> Cors {
        Cors::new(&serde_json::from_value(toml).unwrap())
    }

    fn said(cors: &Cors, method: &str, fields: &[(&str, &str)]) -> Vec<String> {
        let fields = Fields::from_pairs(fields.iter().copied()).unwrap();
        let grant = cors.grant(method.as_bytes(), &fields);
        let mut said = Vec::new();
        cors.fields(&grant, |name, value| {
            let name = name.replace("access-control-", "");
            said.push(format!("{name}: {}", String::from_utf8_lossy(&value)));
        });
        said
    }

    const HERE: (&str, &str) = ("origin", "https://app.example");

    #[test]
    fn an_origin_that_is_listed_is_told_so() {
        let cors = cors(serde_json::json!({
            "origins": ["https://app.example"], "expose": ["x-a", "x-b"], "credentials": true,
        }));
        assert_eq!(
            said(&cors, "GET", &[HERE]),
            [
                "vary: origin",
                "allow-origin: https://app.example",
                "allow-credentials: true",
                "expose-headers: x-a, x-b",
            ]
        );
        for other in [
            "https://app.example.evil",
            "http://app.example",
            "null",
            "HTTPS://APP.EXAMPLE",
        ] {
            assert_eq!(
                said(&cors, "GET", &[("origin", other)]),
                ["vary: origin"],
                "{other}"
            );
        }
        assert_eq!(said(&cors, "GET", &[]), ["vary: origin"]);
    }

    #[test]
    fn everybody_needs_no_vary() {
        let cors = cors(serde_json::json!({"origins": ["*"]}));
        for fields in [&[HERE][..], &[]] {
            assert_eq!(said(&cors, "GET", fields), ["allow-origin: *"]);
        }
    }

    #[test]
    fn a_preflight_names_what_may_be_used() {
        let ask = [
            HERE,
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization,x-a"),
        ];
        let open =
            cors(serde_json::json!({"origins": [HERE.1], "methods": ["*"], "max_age": "10m"}));
        let vary = "vary: access-control-request-method, access-control-request-headers";
        assert_eq!(
            said(&open, "OPTIONS", &ask),
            [
                "vary: origin",
                "allow-origin: https://app.example",
                "allow-methods: PUT",
                "allow-headers: authorization,x-a",
                "max-age: 600",
                vary,
            ]
        );
        let narrow = cors(serde_json::json!({
            "origins": [HERE.1], "methods": ["GET"], "headers": ["x-a"], "max_age": "0",
        }));
        assert_eq!(
            said(&narrow, "OPTIONS", &ask)[2..],
            [
                "allow-methods: GET",
                "allow-headers: x-a",
                "max-age: 0",
                vary
            ]
        );
        // Neither is a preflight.
        assert!(
            !said(&open, "PUT", &ask)
                .iter()
                .any(|f| f.starts_with("max-age"))
        );
        assert!(
            !said(&open, "OPTIONS", &ask[..1])
                .iter()
                .any(|f| f.starts_with("max-age"))
        );
    }
}
