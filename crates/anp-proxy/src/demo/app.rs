//! The handlers of the sample app.

use std::{convert::Infallible, fmt::Write as _, time::Duration};

use anp_tunnel::units::Size;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Body,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue},
};
use sha2::{Digest as _, Sha256};

use super::{
    body::{Answer, generated_sha256, hex},
    page,
};

/// Hashing more than this before the first byte would look like a hang.
const MOST_HASHED: u64 = 4 << 30;
/// Longest pause that `/slow` takes, in seconds.
const LONGEST_PAUSE: f64 = 3600.0;

/// Answers one request.
pub(super) async fn answer<B>(request: Request<B>) -> Result<Response<Answer<B>>, Infallible>
where
    B: Body<Data = Bytes> + Unpin,
{
    Ok(match request.uri().path() {
        "/" => read_only(&request).unwrap_or_else(|| greeting(&request)),
        "/echo" => echo(request),
        "/sse" => read_only(&request).unwrap_or_else(|| tokens(&request)),
        "/download" => match read_only(&request) {
            Some(refusal) => refusal,
            None => download(&request).await,
        },
        "/upload" => upload(request).await,
        "/slow" => slow(&request).await,
        _ => text(
            StatusCode::NOT_FOUND,
            "nothing here; try / for what there is\n".to_owned(),
        ),
    })
}

fn greeting<B>(request: &Request<B>) -> Response<Answer<B>> {
    let base = page::base(request.headers().get(HOST).map(HeaderValue::as_bytes));
    let accept = request.headers().get(ACCEPT).map(HeaderValue::as_bytes);
    let wants_html = accept.is_some_and(|accept| accept.windows(9).any(|w| w == b"text/html"));
    if wants_html {
        let mut response = text(StatusCode::OK, page::html(&base));
        set(
            &mut response,
            CONTENT_TYPE.as_str(),
            "text/html; charset=utf-8",
        );
        response
    } else {
        text(StatusCode::OK, page::plain(&base))
    }
}

fn echo<B>(request: Request<B>) -> Response<Answer<B>> {
    let (head, body) = request.into_parts();
    let mut first = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        // Writing to a string does not fail.
        let _ = writeln!(
            first,
            "{name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    first.push('\n');
    let mut response = text(StatusCode::OK, String::new());
    *response.body_mut() = Answer::Echo {
        first: first.into(),
        body,
    };
    response
}

fn tokens<B>(request: &Request<B>) -> Response<Answer<B>> {
    let pause = match parameter(request, "pause_ms").map(str::parse::<u64>) {
        None => 150,
        Some(Ok(pause @ 1..=60_000)) => pause,
        Some(_) => return bad("pause_ms", "milliseconds from 1 to 60000"),
    };
    let mut response = text(StatusCode::OK, String::new());
    set(&mut response, CONTENT_TYPE.as_str(), "text/event-stream");
    set(&mut response, CACHE_CONTROL.as_str(), "no-store");
    *response.body_mut() = Answer::tokens(Duration::from_millis(pause));
    response
}

async fn download<B>(request: &Request<B>) -> Response<Answer<B>> {
    let size = match parameter(request, "size").map(str::parse::<Size>) {
        None => 100 << 20,
        Some(Ok(size)) => size.0,
        Some(Err(_)) => return bad("size", "a size such as 100MiB"),
    };
    let mut response = text(StatusCode::OK, String::new());
    set(
        &mut response,
        CONTENT_TYPE.as_str(),
        "application/octet-stream",
    );
    if size <= MOST_HASHED {
        // Away from the event loop: the tunnel may share it.
        if let Ok(sha256) = tokio::task::spawn_blocking(move || generated_sha256(size)).await {
            set(&mut response, "x-checksum-sha256", &sha256);
        }
    }
    *response.body_mut() = Answer::generated(size);
    response
}

async fn upload<B: Body<Data = Bytes> + Unpin>(request: Request<B>) -> Response<Answer<B>> {
    let mut body = request.into_body();
    let (mut sha256, mut size) = (Sha256::new(), 0_u64);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return text(StatusCode::BAD_REQUEST, "the upload broke off\n".to_owned());
        };
        if let Some(data) = frame.data_ref() {
            sha256.update(data);
            size += data.len() as u64;
        }
    }
    let sha256 = hex(&sha256.finalize());
    text(StatusCode::OK, format!("sha256 {sha256}\nbytes  {size}\n"))
}

async fn slow<B>(request: &Request<B>) -> Response<Answer<B>> {
    let seconds = match parameter(request, "seconds").map(str::parse::<f64>) {
        None => 3.0,
        Some(Ok(seconds)) if (0.0..=LONGEST_PAUSE).contains(&seconds) => seconds,
        Some(_) => return bad("seconds", "a number from 0 to 3600"),
    };
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    text(StatusCode::OK, format!("this took {seconds} s\n"))
}

/// The answer to a method that a resource without a body to take does not know.
fn read_only<B>(request: &Request<B>) -> Option<Response<Answer<B>>> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "only GET and HEAD here\n".to_owned(),
    );
    set(&mut response, ALLOW.as_str(), "GET, HEAD");
    Some(response)
}

fn parameter<'a, B>(request: &'a Request<B>, name: &str) -> Option<&'a str> {
    let query = request.uri().query()?;
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

fn bad<B>(name: &str, expected: &str) -> Response<Answer<B>> {
    text(
        StatusCode::BAD_REQUEST,
        format!("{name}: expected {expected}\n"),
    )
}

fn text<B>(status: StatusCode, body: String) -> Response<Answer<B>> {
    let mut response = Response::new(Answer::Whole(body.into()));
    *response.status_mut() = status;
    set(
        &mut response,
        CONTENT_TYPE.as_str(),
        "text/plain; charset=utf-8",
    );
    response
}

fn set<B>(response: &mut Response<Answer<B>>, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::time::Instant;

    use super::*;

    async fn get(target: &str) -> Response<Answer<Full<Bytes>>> {
        send(Request::get(target), "").await
    }

    async fn send(
        request: hyper::http::request::Builder,
        body: &'static str,
    ) -> Response<Answer<Full<Bytes>>> {
        let Ok(response) = answer(request.body(Full::from(body)).unwrap()).await;
        response
    }

    async fn body(response: Response<Answer<Full<Bytes>>>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn the_greeting_suits_its_reader() {
        let host = || Request::get("/").header(HOST, "127.0.0.1:8080");
        let plain = body(send(host(), "").await).await;
        assert!(plain.starts_with(b"Hello from the app"), "{plain:?}");
        let lines = String::from_utf8_lossy(&plain).into_owned();
        assert!(lines.contains("curl http://127.0.0.1:8080/"), "{lines}");
        let page = body(send(host().header(ACCEPT, "text/html"), "").await).await;
        assert!(page.starts_with(b"<!doctype html>"));
        let evil = Request::get("/").header(HOST, "<script>");
        let page = body(send(evil.header(ACCEPT, "text/html"), "").await).await;
        assert!(!String::from_utf8_lossy(&page).contains("<script>"));
    }

    #[tokio::test]
    async fn echo_shows_the_request_and_its_body() {
        let request = Request::post("/echo?a=b").header("x-one", "1");
        let text = body(send(request, "hello").await).await;
        assert_eq!(text, "POST /echo?a=b HTTP/1.1\nx-one: 1\n\nhello");
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_come_one_by_one() {
        let mut response = get("/sse?pause_ms=100").await;
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        let start = Instant::now();
        let mut events = Vec::new();
        while let Some(frame) = response.body_mut().frame().await {
            events.push((start.elapsed(), frame.unwrap().into_data().unwrap()));
        }
        assert_eq!(events[0].1, "data: Each\n\n");
        assert_eq!(events[1].0, Duration::from_millis(100));
        assert_eq!(events.last().unwrap().1, "data: [DONE]\n\n");
    }

    #[tokio::test]
    async fn a_download_is_what_its_checksum_says() {
        for size in [0, 1, 65_536, 200_001] {
            let response = get(&format!("/download?size={size}")).await;
            let stated = response.headers()["x-checksum-sha256"].clone();
            assert_eq!(response.body().size_hint().exact(), Some(size));
            let data = body(response).await;
            assert_eq!(data.len() as u64, size);
            assert_eq!(stated, hex(&Sha256::digest(&data)));
        }
    }

    #[tokio::test]
    async fn an_upload_is_answered_by_its_checksum() {
        let text = body(send(Request::put("/upload"), "abc").await).await;
        assert_eq!(
            text,
            "sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nbytes  3\n"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn slow_takes_its_time() {
        let start = Instant::now();
        let text = body(get("/slow?seconds=2.5").await).await;
        assert_eq!(start.elapsed(), Duration::from_millis(2500));
        assert_eq!(text, "this took 2.5 s\n");
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        for (target, status) in [
            ("/nowhere", 404),
            ("/download?size=lots", 400),
            ("/slow?seconds=NaN", 400),
            ("/slow?seconds=-1", 400),
            ("/sse?pause_ms=0", 400),
        ] {
            assert_eq!(get(target).await.status(), status, "{target}");
        }
        let response = send(Request::post("/download"), "").await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}
