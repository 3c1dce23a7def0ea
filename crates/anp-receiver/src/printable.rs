//! Text of peers, for logs and terminals.

/// `text` with every character escaped that could begin a line, tell a terminal to do something, or
/// turn the order of what is shown: control characters, separators of lines, and marks of direction.
/// What peers send may be shown in no other way.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_plain(c) {
            true => out.push(c),
            false => out.extend(c.escape_default()),
        }
    }
    out
}

/// True for a character that [`printable`] leaves as it is.
pub fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// The text of an address with its user and password hidden: messages go into logs.
pub fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://****{}", &rest[at..]),
        None => text.to_owned(),
    }
}

/// The text of a gateway's address where anybody may read it: what follows the path may be a secret.
pub(crate) fn without_query(text: &str) -> String {
    let shown = without_user(text);
    match shown.split_once(['?', '#']) {
        Some((before, _)) => before.to_owned(),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_all_else_is_kept() {
        assert_eq!(printable("it's \"ü\" \\ 日本"), "it's \"ü\" \\ 日本");
        assert_eq!(printable("a\r\nb\u{1b}[31m"), "a\\r\\nb\\u{1b}[31m");
        for c in "\0\t\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}".chars() {
            let shown = printable(&c.to_string());
            assert!(shown.starts_with('\\') && shown.is_ascii(), "{shown:?}");
        }
    }

    #[test]
    fn users_and_passwords_in_urls_are_hidden() {
        for (text, shown) in [
            (
                "ws://me:secret@gate.example/x@y",
                "ws://****@gate.example/x@y",
            ),
            ("ws://gate.example/a@b", "ws://gate.example/a@b"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(without_user(text), shown);
        }
    }
}
