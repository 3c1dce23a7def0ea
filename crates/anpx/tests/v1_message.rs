//! HTTP heads in version-1 metas (ANPX 2.3).
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use anpx::{
    Fields, RequestHead, ResponseHead,
    v1::message::{self, Losses, MetaError},
};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

fn request(method: &str, target: &str, fields: Fields) -> RequestHead {
    RequestHead {
        method: Bytes::copy_from_slice(method.as_bytes()),
        target: Bytes::copy_from_slice(target.as_bytes()),
        scheme: Bytes::from_static(b"http"),
        authority: Bytes::from_static(b"h"),
        headers: fields,
        request_id: Bytes::from_static(b"id"),
        client_addr: None,
        protocol: None,
    }
}

fn fields<V: AsRef<[u8]>>(pairs: &[(&str, V)]) -> Fields {
    Fields::from_pairs(pairs.iter().map(|(n, v)| (n, v))).unwrap()
}

fn written(head: &RequestHead, length: Option<u64>) -> String {
    let meta = message::write_request(head, length, &mut Losses::default());
    String::from_utf8(meta.to_vec()).unwrap()
}

fn read(meta: &str, length: u64) -> Result<RequestHead, MetaError> {
    let id = Bytes::from_static(b"id");
    message::read_request(meta.as_bytes(), id, length)
}

fn read_response(meta: &str) -> Result<ResponseHead, MetaError> {
    message::read_response(meta.as_bytes(), false, Some(3))
}

fn pairs(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    let name = |n: &[u8]| String::from_utf8(n.to_vec()).unwrap();
    fields.iter().map(|(n, v)| (name(n), v.to_vec())).collect()
}

fn pair(name: &str, value: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), value.to_vec())
}

#[test]
fn targets_are_decoded_and_built_again() {
    // (target, path as written, target as built)
    let cases = [
        ("/", "/", "/"),
        ("*", "*", "*"),
        ("/a%20b/%C3%A9", "/a b/é", "/a%20b/%C3%A9"),
        ("/x%3Fy%23z%5C", "/x?y#z\\\\", "/x%3Fy%23z%5C"),
        ("/!$&'()*+,;=:@~", "/!$&'()*+,;=:@~", "/!$&'()*+,;=:@~"),
        ("/100%25", "/100%", "/100%25"),
        ("//a/../b", "//a/../b", "//a/../b"),
        // Lost: an encoded slash, bytes that are not UTF-8, and these after double encoding.
        ("/a%2Fb", "/a/b", "/a/b"),
        ("/%FF", "/\u{FFFD}", "/%EF%BF%BD"),
        ("/%253F", "/%3F", "/%3F"),
        // A percent that encodes nothing.
        ("/%zz%4", "/%zz%4", "/%25zz%254"),
        ("/?", "/", "/"),
        ("/?a=1&b=&c", "/", "/?a=1&b=&c="),
        ("/?a%26=x%3Dy+z%20%2B", "/", "/?a%26=x%3Dy%20z%20%2B"),
        ("/?a=b=c&&d=?/", "/", "/?a=b%3Dc&d=%3F%2F"),
    ];
    for (target, path, built) in cases {
        let meta = written(&request("GET", target, Fields::default()), Some(0));
        assert!(meta.contains(&format!(r#""path":"{path}""#)), "{meta}");
        assert_eq!(read(&meta, 0).unwrap().target, built);
    }
}

#[test]
fn the_last_of_a_repeated_query_key_stays_and_the_loss_is_counted() {
    let mut losses = Losses::default();
    let head = request("GET", "/?a=1&b=2&a=3", Fields::default());
    let meta = message::write_request(&head, Some(0), &mut losses);
    assert!(meta.ends_with(br#""query":{"a":"3","b":"2"}}"#));
    assert_eq!(losses.query_keys, 1);
}

#[test]
fn a_path_without_slash_cannot_leave_the_origin() {
    for (path, target) in [
        ("", "/"),
        ("a", "/a"),
        ("http://x/", "/http://x/"),
        ("?x", "/%3Fx"),
    ] {
        let meta = format!(r#"{{"method":"GET","path":"{path}"}}"#);
        assert_eq!(read(&meta, 0).unwrap().target, target);
    }
}

#[test]
fn framing_is_dropped_both_ways_and_the_length_is_that_of_the_body() {
    let head = request(
        "POST",
        "/",
        fields(&[
            ("content-length", "9"),
            ("expect", "100-continue"),
            ("a", "b"),
        ]),
    );
    let meta = written(&head, Some(3));
    assert!(
        meta.contains(r#""headers":{"host":"h","a":"b","content-length":"3"}"#),
        "{meta}"
    );
    assert!(!written(&head, None).contains("content-length"));

    let meta = r#"{"method":"POST","path":"/","headers":{"Content-Length":"9","Transfer-Encoding":"chunked",
        "Connection":"close, X-Hop","x-hop":"1","Keep-Alive":"1","TE":"trailers","Trailer":"x","Upgrade":"h2c",
        "Expect":"100-continue","Proxy-Connection":"x","HTTP2-Settings":"x","Kept":"1"},"query":{}}"#;
    let head = read(meta, 3).unwrap();
    assert_eq!(
        pairs(&head.headers),
        [pair("kept", b"1"), pair("content-length", b"3")]
    );
}

#[test]
fn an_empty_body_has_a_length_only_where_the_method_expects_one() {
    for (method, length) in [
        ("GET", None),
        ("DELETE", None),
        ("POST", Some(&b"0"[..])),
        ("PUT", Some(b"0")),
    ] {
        let meta = written(
            &request(method, "/", fields(&[("content-length", "7")])),
            Some(0),
        );
        assert_eq!(
            meta.contains("content-length"),
            length.is_some(),
            "{method}"
        );
        assert_eq!(
            read(&meta, 0).unwrap().headers.get("content-length"),
            length
        );
    }
}

#[test]
fn repeated_names_are_joined_and_cookies_kept_apart() {
    let head = request(
        "GET",
        "/",
        fields(&[("a", "1"), ("cookie", "x=1"), ("a", "2"), ("cookie", "y=2")]),
    );
    let meta = written(&head, Some(0));
    assert!(meta.contains(r#""a":"1, 2","cookie":"x=1; y=2""#), "{meta}");

    let cookies: Vec<_> = (0..256).map(|n| ("set-cookie", format!("n={n}"))).collect();
    let head = ResponseHead {
        status: 200,
        headers: fields(&cookies),
    };
    let meta = message::write_response(&head, false, None);
    let text = std::str::from_utf8(&meta).unwrap();
    assert!(text.contains(
        r#""set-cookie":"n=0","Set-cookie":"n=1","sEt-cookie":"n=2","SEt-cookie":"n=3""#
    ));
    assert!(text.contains(r#""SET-COOKIe":"n=255""#));
    let back = message::read_response(&meta, false, None).unwrap();
    assert_eq!(back, head);
}

#[test]
fn maps_are_read_without_regard_to_case_and_every_entry_is_kept() {
    let meta = r#"{"status":200,"headers":{"A":"1","a":"2","SET-Cookie":"x","n":7,"t":true,"z":null,"l":["x"]}}"#;
    let head = read_response(meta).unwrap();
    let kept = [
        pair("a", b"1"),
        pair("a", b"2"),
        pair("set-cookie", b"x"),
        pair("n", b"7"),
    ];
    let rest = [pair("t", b"true"), pair("content-length", b"3")];
    assert_eq!(pairs(&head.headers), [&kept[..], &rest[..]].concat());
}

#[test]
fn values_are_trimmed_and_bad_fields_refused() {
    let of = |fields: &str| read_response(&format!(r#"{{"status":200,"headers":{{{fields}}}}}"#));
    let head = of(r#""a":" padded\t","b":"""#).unwrap();
    assert_eq!(
        pairs(&head.headers)[..2],
        [pair("a", b"padded"), pair("b", b"")]
    );
    for field in [
        r#""b":"x\r\ny: z""#,
        r#""b":"\u0000""#,
        r#""c d":"1""#,
        r#""":"1""#,
        r#""a\r\nb":"1""#,
    ] {
        assert!(matches!(of(field), Err(MetaError::Field { .. })), "{field}");
    }
    let error = of(r#""B":"\u0000""#).unwrap_err();
    let text = "field \"b\": header value holds a forbidden byte";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_gateway_writes_utf_8_or_latin_1_and_a_receiver_reads_latin_1() {
    let head = request(
        "GET",
        "/",
        fields(&[("u", "é€".as_bytes()), ("l", b"\xE9".as_slice())]),
    );
    let meta = written(&head, Some(0));
    assert!(meta.contains(r#""u":"é€","l":"é""#), "{meta}");
    let back = read(&meta, 0).unwrap();
    let mixed = [b"\xE9".as_slice(), "€".as_bytes()].concat();
    assert_eq!(
        pairs(&back.headers),
        [pair("u", &mixed), pair("l", b"\xE9")]
    );
}

#[test]
fn a_receiver_writes_latin_1_and_a_gateway_reads_utf_8() {
    let head = ResponseHead {
        status: 200,
        headers: fields(&[("u", "é".as_bytes())]),
    };
    let meta = message::write_response(&head, false, None);
    assert_eq!(
        &meta[..],
        "{\"status\":200,\"headers\":{\"u\":\"Ã©\"}}".as_bytes()
    );
    let back = read_response(r#"{"status":200,"headers":{"u":"é€"}}"#).unwrap();
    assert_eq!(back.headers.get("u"), Some("é€".as_bytes()));
}

#[test]
fn the_host_is_the_authority() {
    let meta =
        r#"{"method":"GET","path":"/","headers":{"HOST":" app.example:80 ","host":"other"}}"#;
    let head = read(meta, 0).unwrap();
    assert_eq!(&head.authority[..], b"app.example:80");
    assert!(head.headers.is_empty());
    assert!(written(&head, Some(0)).contains(r#""headers":{"host":"app.example:80"}"#));
    for host in ["a b", "a\\r\\nb", "é"] {
        let meta = format!(r#"{{"method":"GET","path":"/","headers":{{"host":"{host}"}}}}"#);
        assert_eq!(read(&meta, 0), Err(MetaError::Host));
    }
}

#[test]
fn what_exceeds_a_limit_is_refused() {
    let of = |path: &str, headers: &str| {
        read(
            &format!(r#"{{"method":"GET","path":"/{path}","headers":{{{headers}}}}}"#),
            0,
        )
    };
    assert_eq!(of(&"a".repeat(16 << 10), ""), Err(MetaError::TooLarge));
    assert_eq!(
        of("", &format!(r#""a":"{}""#, "x".repeat(65 << 10))),
        Err(MetaError::TooLarge)
    );
    assert_eq!(of(&"a".repeat(300 << 10), ""), Err(MetaError::TooLarge));
    let many: Vec<_> = (0..5000).map(|n| format!(r#""{n}":"x""#)).collect();
    assert!(matches!(of("", &many.join(",")), Err(MetaError::Json(_))));
}

proptest! {
    #[test]
    fn any_text_is_a_head_or_an_error(meta in vec(any::<u8>(), 0..200)) {
        let _ = message::read_request(&meta, Bytes::new(), 0);
        let _ = message::read_response(&meta, false, None);
    }

    #[test]
    fn ascii_heads_come_back_as_they_were(
        method in prop_oneof!["GET", "POST", "PATCH", "[A-Za-z!#$]{1,10}"],
        path in "(/[a-zA-Z0-9~:@!$&'()*+,;=._-]{0,8}){1,4}",
        query in proptest::collection::btree_map("[a-z]{1,4}", "[a-zA-Z0-9._~-]{0,6}", 0..4),
        names in proptest::collection::btree_set("x-[a-z0-9]{1,8}", 0..8),
        value in "([!-~]([ -~]{0,20}[!-~])?)?",
        length in 0_u64..5000,
    ) {
        let query: Vec<_> = query.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let separator = if query.is_empty() { "" } else { "?" };
        let target = format!("{path}{separator}{}", query.join("&"));
        let mut pairs: Vec<(String, String)> = names.into_iter().map(|n| (n, value.clone())).collect();
        if length > 0 || matches!(&*method, "POST" | "PATCH") {
            pairs.push(("content-length".to_owned(), length.to_string()));
        }
        let head = request(&method, &target, Fields::from_pairs(pairs).unwrap());
        prop_assert_eq!(read(&written(&head, Some(length)), length), Ok(head));
    }

    #[test]
    fn any_value_of_a_response_is_a_valid_field_again(
        status in 200_u16..600,
        values in vec(vec(any::<u8>(), 0..40), 0..6),
        to_head in any::<bool>(),
    ) {
        let mut builder = Fields::builder(64);
        for value in &values {
            let _ = builder.push(b"set-cookie", value);
        }
        let head = ResponseHead { status, headers: builder.build() };
        let meta = message::write_response(&head, to_head, Some(1));
        let back = message::read_response(&meta, to_head, Some(1)).unwrap();
        let count = |h: &ResponseHead| h.headers.iter().filter(|(n, _)| *n == b"set-cookie").count();
        prop_assert_eq!(count(&back), count(&head));
    }
}
