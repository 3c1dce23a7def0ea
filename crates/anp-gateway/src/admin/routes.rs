//! The paths of the admin listener.

use std::borrow::Cow;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use super::{
    Admin, Asked, query,
    reply::{Problem, Reply},
};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Alive,
    Ready,
    Metrics,
    Stats,
    Config,
    Reload,
    Tunnels,
    Tunnel,
    CloseTunnel,
    Endpoints,
    AddEndpoint,
    Endpoint,
    ChangeEndpoint,
    RemoveEndpoint,
    Documents,
    Publish,
    Document,
    Withdraw,
}

/// Every path, with what its methods do. `{name}` is any one segment.
pub(super) const ROUTES: [(&str, &[(&str, Action)]); 12] = [
    ("/healthz", &[("GET", Action::Alive)]),
    ("/readyz", &[("GET", Action::Ready)]),
    ("/metrics", &[("GET", Action::Metrics)]),
    ("/stats", &[("GET", Action::Stats)]),
    ("/config", &[("GET", Action::Config)]),
    ("/reload", &[("POST", Action::Reload)]),
    ("/tunnels", &[("GET", Action::Tunnels)]),
    (
        "/tunnels/{name}",
        &[("GET", Action::Tunnel), ("DELETE", Action::CloseTunnel)],
    ),
    (
        "/endpoints",
        &[("GET", Action::Endpoints), ("POST", Action::AddEndpoint)],
    ),
    (
        "/endpoints/{name}",
        &[
            ("GET", Action::Endpoint),
            ("PUT", Action::ChangeEndpoint),
            ("DELETE", Action::RemoveEndpoint),
        ],
    ),
    (
        "/documents",
        &[("GET", Action::Documents), ("POST", Action::Publish)],
    ),
    (
        "/documents/{name}",
        &[("GET", Action::Document), ("DELETE", Action::Withdraw)],
    ),
];

/// What a request for `path` asks for, and the name in the path. HEAD is as good as GET.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> Result<(Action, Cow<'p, str>), Problem> {
    let found = ROUTES.iter().find_map(|(pattern, methods)| {
        let name = match pattern.strip_suffix("{name}") {
            None => (*pattern == path).then_some("")?,
            Some(prefix) => {
                let name = path.strip_prefix(prefix)?;
                (!name.is_empty() && !name.contains('/')).then_some(name)?
            }
        };
        Some((methods, name))
    });
    let Some((methods, name)) = found else {
        let all = ROUTES.map(|(path, _)| path).join(" ");
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("nothing is here; there are {all}"),
        ));
    };
    let wanted = if *method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    match methods.iter().find(|(method, _)| *method == wanted) {
        Some((_, action)) => Ok((*action, decoded(name)?)),
        None => Err(Problem::method(&allowed(methods))),
    }
}

/// What a segment of a path says (RFC 3986 section 2.1). A DID with a port has a `%3A` of its own, and
/// may be written as it is.
fn decoded(segment: &str) -> Result<Cow<'_, str>, Problem> {
    if segment.starts_with("did:") && !segment.contains("%25") {
        return Ok(segment.into());
    }
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map_err(|_| query::bad(format!("{segment:?} is not UTF-8 once it is decoded")))
}

/// The value of `Allow`.
fn allowed(methods: &[(&str, Action)]) -> String {
    let mut all: Vec<_> = methods.iter().map(|(method, _)| *method).collect();
    if all.first() == Some(&"GET") {
        all.insert(1, "HEAD");
    }
    all.join(", ")
}

impl Action {
    /// True for what says no more than whether the gateway is well.
    pub(super) fn is_for_all(self) -> bool {
        matches!(self, Self::Alive | Self::Ready)
    }

    /// True for what the registry holds, or may hold.
    pub(super) fn is_of_registry(self) -> bool {
        match self {
            Self::Endpoints
            | Self::AddEndpoint
            | Self::Endpoint
            | Self::ChangeEndpoint
            | Self::RemoveEndpoint
            | Self::Documents
            | Self::Publish
            | Self::Document
            | Self::Withdraw => true,
            Self::Alive
            | Self::Ready
            | Self::Metrics
            | Self::Stats
            | Self::Config
            | Self::Reload
            | Self::Tunnels
            | Self::Tunnel
            | Self::CloseTunnel => false,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// The answer to give instead.
    pub(super) async fn run(self, admin: &Admin, asked: Asked) -> Result<Reply, Problem> {
        match self {
            Self::Alive => Ok(admin.alive()),
            Self::Ready => Ok(admin.ready()),
            Self::Metrics => admin.metrics(),
            Self::Stats => Ok(admin.stats()),
            Self::Config => Ok(admin.config()),
            Self::Reload => admin.reload().await,
            Self::Tunnels => admin.tunnels(&asked),
            Self::Tunnel => admin.tunnel(&asked),
            Self::CloseTunnel => admin.close_tunnel(&asked),
            Self::Endpoints => admin.endpoints(&asked),
            Self::AddEndpoint => admin.add_endpoint(&asked).await,
            Self::Endpoint => admin.endpoint(&asked),
            Self::ChangeEndpoint => admin.change_endpoint(&asked).await,
            Self::RemoveEndpoint => admin.remove_endpoint(&asked).await,
            Self::Documents => admin.documents(&asked),
            Self::Publish => admin.publish(&asked).await,
            Self::Document => admin.document(&asked),
            Self::Withdraw => admin.withdraw(&asked).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, path: &str) -> (u16, Option<String>) {
        match find(&method, path) {
            Ok(_) => (200, None),
            Err(problem) => {
                let reply = problem.into_reply();
                let allow = reply.headers().get("allow");
                let allow = allow.map(|v| v.to_str().unwrap().to_owned());
                (reply.status().as_u16(), allow)
            }
        }
    }

    #[test]
    fn paths_are_whole_and_methods_are_named() {
        let name =
            |path| find(&Method::GET, path).map(|(action, name)| (action, name.into_owned()));
        assert_eq!(
            name("/endpoints/a.b").unwrap(),
            (Action::Endpoint, "a.b".to_owned())
        );
        assert_eq!(
            name("/endpoints").unwrap(),
            (Action::Endpoints, String::new())
        );
        for path in [
            "/",
            "/stats/",
            "/stat",
            "/endpoints/",
            "/endpoints/a/b",
            "//stats",
            "/Stats",
        ] {
            assert_eq!(status(Method::GET, path), (404, None), "{path}");
        }
        let allow = |text: &str| (405, Some(text.to_owned()));
        assert_eq!(status(Method::PUT, "/endpoints/a"), (200, None));
        assert_eq!(status(Method::HEAD, "/endpoints/a"), (200, None));
        assert_eq!(
            status(Method::POST, "/endpoints/a"),
            allow("GET, HEAD, PUT, DELETE")
        );
        assert_eq!(status(Method::GET, "/reload"), allow("POST"));
        assert_eq!(status(Method::OPTIONS, "/stats"), allow("GET, HEAD"));
    }

    #[test]
    fn names_are_decoded_as_paths_are() {
        let name = |segment: &str| {
            let path = format!("/endpoints/{segment}");
            find(&Method::GET, &path).map(|(_, name)| name.into_owned())
        };
        let did = "did:wba:gw.example%3A8443:lab";
        for (segment, says) in [
            ("a.b", "a.b"),
            ("a%2Eb", "a.b"),
            (did, did),
            ("did:wba:gw.example%253A8443:lab", did),
            ("did%3Awba%3Agw.example%253A8443%3Alab", did),
            ("did%3awba%3agw.example%3alab", "did:wba:gw.example:lab"),
        ] {
            assert_eq!(name(segment).unwrap(), says, "{segment}");
        }
        let problem = name("%ff").unwrap_err().into_reply();
        assert_eq!(problem.status(), 400);
    }

    /// The paths of an OpenAPI file in YAML, of which only the indentation is looked at.
    fn described(yaml: &str) -> Vec<(String, String)> {
        let paths = yaml.split_once("\npaths:\n").unwrap().1;
        let (mut all, mut path) = (Vec::new(), String::new());
        for line in paths.lines().take_while(|line| line.starts_with(' ')) {
            let Some(key) = line.strip_suffix(':') else {
                continue;
            };
            match key.len() - key.trim_start().len() {
                2 => path = key.trim().to_owned(),
                4 if key != "    parameters" => {
                    all.push((path.clone(), key.trim().to_ascii_uppercase()));
                }
                _ => {}
            }
        }
        all
    }

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let mut described = described(include_str!("../../../../docs/admin-api.yaml"));
        let mut served: Vec<_> = ROUTES
            .iter()
            .flat_map(|(path, methods)| methods.iter().map(move |(method, _)| (path, method)))
            .map(|(path, method)| ((*path).to_owned(), (*method).to_owned()))
            .collect();
        described.sort();
        served.sort();
        assert_eq!(described, served);
    }
}
