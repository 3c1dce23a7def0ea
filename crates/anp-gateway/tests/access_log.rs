//! The lines of the access log, from a process of their own: a subscriber is for all threads.

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::mpsc,
        time::Duration,
    };

    use anp_auth::new_token;
    use anp_gateway::{Config, Endpoint, Gateway, Shutdown};
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::watch,
    };

    struct Lines(mpsc::Sender<Vec<u8>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(line.to_vec());
            Ok(line.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_line_names_the_request_and_not_its_query() {
        let (lines, read) = mpsc::channel();
        tracing_subscriber::fmt()
            .json()
            .with_writer(move || Lines(lines.clone()))
            .init();
        let any = ([127, 0, 0, 1], 0).into();
        let (secret, hash) = new_token().unwrap();
        let callers = json!({ "basic": [{ "name": "ann", "hash": hash.to_string() }] });
        let config = Config {
            listen: any,
            tunnel_listen: any,
            access_log: true,
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            endpoints: vec![Endpoint {
                name: "hers".into(),
                path: "/a".into(),
                receivers: vec!["r".into()],
                callers: Some(serde_json::from_value(callers).unwrap()),
                ..Endpoint::default()
            }],
            ..Config::default()
        };
        let bound = Gateway::bind(config).await.unwrap();
        let address = bound.public_addr();
        let (_stop, stop) = watch::channel(Shutdown::No);
        tokio::spawn(bound.run(stop));
        let mut socket = TcpStream::connect(address).await.unwrap();
        let proof = STANDARD.encode(format!("ann:{secret}"));
        let request = format!(
            "POST /a/b?token=secret HTTP/1.1\r\nhost: h.example:8\r\nconnection: close\r\n\
             x-forwarded-for: 192.0.2.1\r\nauthorization: Basic {proof}\r\n\
             content-length: 5\r\n\r\nhello"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).await.unwrap();
        let body = response.split_once("\r\n\r\n").unwrap().1;
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();

        let fields = loop {
            let line = read.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(!String::from_utf8_lossy(&line).contains("secret"));
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            if line["target"] == "access" {
                break line["fields"].clone();
            }
        };
        assert_eq!(fields["client"], "192.0.2.1:0");
        assert_eq!(fields["caller"], "ann");
        assert_eq!(fields["method"], "POST");
        assert_eq!(fields["host"], "h.example:8");
        assert_eq!(fields["path"], "/a/b");
        assert_eq!(fields["status"], 503);
        assert_eq!(fields["bytes"], body.len());
        assert_eq!(fields["received"], 5);
        assert_eq!(fields["endpoint"], "hers");
        assert_eq!(fields["request_id"], problem["request_id"]);
        assert_eq!(fields["outcome"], "complete");
        assert_eq!(fields["cause"], "tunnel");
        assert_eq!(fields["tunnel"], serde_json::Value::Null);
    }
}
