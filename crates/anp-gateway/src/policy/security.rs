//! Response fields that make browsers more careful, where the app sets none.

use bytes::Bytes;

use crate::config::SecurityHeaders;

/// What `security_headers = true` sets. `SAMEORIGIN`, and no content security policy: what is
/// stricter breaks apps that know nothing of it.
const USUAL: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
    (HSTS, "max-age=31536000"),
];

/// Means nothing over plain HTTP (RFC 6797 section 7.2).
const HSTS: &str = "strict-transport-security";

/// The fields of an endpoint.
#[derive(Debug)]
pub(super) struct Security {
    fields: Vec<(Bytes, Bytes)>,
    overrides: bool,
}

impl Security {
    /// Those of a valid configuration.
    pub(super) fn new(config: &SecurityHeaders) -> Self {
        let is_removed = |name: &str| config.remove.iter().any(|n| n.eq_ignore_ascii_case(name));
        let is_set = |name: &str| config.set.keys().any(|n| n.eq_ignore_ascii_case(name));
        let usual = USUAL
            .iter()
            .filter(|(name, _)| !is_removed(name) && !is_set(name))
            .map(|(name, value)| {
                (
                    Bytes::from_static(name.as_bytes()),
                    Bytes::from_static(value.as_bytes()),
                )
            });
        let set = config
            .set
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase().into(), value.clone().into()));
        Self {
            fields: usual.chain(set).collect(),
            overrides: config.override_app,
        }
    }

    /// True for a field of the app that does not count.
    pub(super) fn replaces(&self, name: &[u8]) -> bool {
        self.overrides && self.fields.iter().any(|(n, _)| n == name)
    }

    /// The fields of a response whose app sets what `has` says.
    pub(super) fn fields(
        &self,
        is_secure: bool,
        has: impl Fn(&[u8]) -> bool,
        mut add: impl FnMut(&Bytes, &Bytes),
    ) {
        for (name, value) in &self.fields {
            let counts = is_secure || name != HSTS;
            if counts && (self.overrides || !has(name)) {
                add(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(config: &str, is_secure: bool, app: &[&str]) -> Vec<String> {
        let security = Security::new(&serde_json::from_str(config).unwrap());
        let mut said = Vec::new();
        let has = |name: &[u8]| app.iter().any(|n| n.as_bytes() == name);
        security.fields(is_secure, has, |name, value| {
            let text = |b: &Bytes| String::from_utf8(b.to_vec()).unwrap();
            said.push(format!("{}: {}", text(name), text(value)));
        });
        said
    }

    #[test]
    fn the_usual_ones_and_hsts_over_https_alone() {
        let plain = said("{}", false, &[]);
        assert_eq!(
            plain,
            [
                "x-content-type-options: nosniff",
                "x-frame-options: SAMEORIGIN",
                "referrer-policy: strict-origin-when-cross-origin",
            ]
        );
        let secure = said("{}", true, &[]);
        assert_eq!(secure[..3], plain);
        assert_eq!(secure[3..], ["strict-transport-security: max-age=31536000"]);
    }

    #[test]
    fn each_can_be_changed_or_left_to_the_app() {
        let config = r#"{"set": {"X-Frame-Options": "DENY", "permissions-policy": "camera=()"},
                         "remove": ["Referrer-Policy"]}"#;
        assert_eq!(
            said(config, false, &[]),
            [
                "x-content-type-options: nosniff",
                "x-frame-options: DENY",
                "permissions-policy: camera=()"
            ]
        );
        assert_eq!(
            said(
                config,
                false,
                &["x-frame-options", "x-content-type-options"]
            ),
            ["permissions-policy: camera=()"]
        );
        let config = r#"{"override_app": true}"#;
        assert_eq!(said(config, false, &["x-frame-options"]).len(), 3);
        let security = Security::new(&serde_json::from_str(config).unwrap());
        assert!(security.replaces(b"x-frame-options") && !security.replaces(b"x-other"));
    }
}
