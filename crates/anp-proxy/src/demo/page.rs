//! The greeting, and the commands to try.

/// Commands that show what the app behind `base` (such as `http://127.0.0.1:8080`) does.
pub(crate) fn curl_lines(base: &str) -> Vec<(&'static str, String)> {
    vec![
        ("a greeting", format!("curl {base}/")),
        (
            "your request as the app saw it",
            format!("curl -d hello {base}/echo"),
        ),
        (
            "tokens, one by one as they are made",
            format!("curl -N {base}/sse"),
        ),
        (
            "a large download, with its checksum",
            format!("curl -s -D /dev/stderr '{base}/download?size=100MiB' | sha256sum"),
        ),
        (
            "an upload, answered by its checksum",
            format!("head -c 100000000 /dev/zero | curl -T - {base}/upload"),
        ),
        (
            "an answer that takes its time",
            format!("curl '{base}/slow?seconds=3'"),
        ),
    ]
}

/// The greeting for a terminal.
pub(super) fn plain(base: &str) -> String {
    let mut text = "Hello from the app behind the tunnel.\n\nTry:\n".to_owned();
    for (what, command) in curl_lines(base) {
        text.push_str(&format!("  {command}\n      {what}\n"));
    }
    text
}

/// The greeting for a browser.
pub(super) fn html(base: &str) -> String {
    let mut items = String::new();
    for (what, command) in curl_lines(base) {
        items.push_str(&format!("<dt><code>{command}</code></dt><dd>{what}</dd>\n"));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>ANP Proxy demo</title>\n\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}}\
         dd{{margin:0 0 .75rem 1.5rem}}code{{overflow-wrap:anywhere}}</style>\n\
         <h1>Hello from the app behind the tunnel.</h1>\n\
         <p>This page went from the gateway through the tunnel to an app and back. \
         <a href=\"/sse\">Watch tokens arrive</a>, or try in a terminal:</p>\n<dl>\n{items}</dl>\n"
    )
}

/// The address the caller used, from its `Host`. Anything but a plain host and port is not
/// repeated: the greeting is a page, and the header is the caller's.
pub(super) fn base(host: Option<&[u8]>) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b".:-_[]".contains(b);
    let host = host
        .filter(|host| !host.is_empty() && host.iter().all(plain))
        .and_then(|host| std::str::from_utf8(host).ok())
        .unwrap_or("localhost");
    format!("http://{host}")
}
