//! Fixed amounts of work for `bench/guard`, which counts the instructions each of them takes: whole
//! requests, from a caller's socket through a real gateway and a real receiver to an app and back.
//!
//! `guard SCENARIO` does the work of one and prints nothing; `guard` prints their names.

use std::{
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use anp_testkit::{
    RunningGateway, RunningReceiver,
    rig::{gateway_config, receiver_config},
};

type Outcome = Result<(), Box<dyn Error>>;

const SCENARIO: &str = "end-to-end";
/// So many that start and stop are a small part.
const REQUESTS: usize = 2_000;

const REQUEST: &[u8] = b"GET /path?query HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: guard\r\n\
    Accept: */*\r\nAccept-Encoding: gzip\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: app\r\nContent-Type: text/plain\r\n\
    Content-Length: 12\r\nConnection: keep-alive\r\n\r\nhello, anpx!";

fn main() -> Outcome {
    match std::env::args().nth(1).as_deref() {
        None => Ok(writeln!(std::io::stdout(), "{SCENARIO}")?),
        Some(SCENARIO) => end_to_end(),
        Some(name) => Err(format!("no scenario {name}").into()),
    }
}

fn end_to_end() -> Outcome {
    let app = listen()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (gateway, receiver) = runtime.block_on(async {
        let config = anp_gateway::Config {
            workers: Some(1),
            ..gateway_config()
        };
        let gateway = RunningGateway::start(config).await;
        let tunnel = format!("ws://{}", gateway.tunnel());
        let config = receiver_config(&tunnel, &format!("http://{app}"));
        let mut receiver = RunningReceiver::start_with(config, anp_receiver::Proxies::none());
        receiver.ready().await;
        (gateway, receiver)
    });
    ask(gateway.public())?;
    runtime.block_on(async {
        receiver.kill().await;
        gateway.stop(anp_gateway::Shutdown::Now).await;
    });
    Ok(())
}

/// One request after the other on one connection: what waits for what is the same in each run.
fn ask(gateway: SocketAddr) -> Outcome {
    let mut caller = TcpStream::connect(gateway)?;
    caller.set_nodelay(true)?;
    let mut answer = Vec::new();
    for _ in 0..REQUESTS {
        caller.write_all(REQUEST)?;
        answer.clear();
        until(&mut caller, &mut answer, b"hello, anpx!")?;
        if !answer.starts_with(b"HTTP/1.1 200 OK\r\n") {
            return Err(String::from_utf8_lossy(&answer).into());
        }
    }
    Ok(())
}

/// The app: answers each head that comes, on any number of connections.
fn listen() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for io in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(io));
        }
    });
    Ok(address)
}

fn serve(mut io: TcpStream) -> std::io::Result<()> {
    io.set_nodelay(true)?;
    let mut head = Vec::new();
    loop {
        head.clear();
        until(&mut io, &mut head, b"\r\n\r\n")?;
        io.write_all(ANSWER)?;
    }
}

/// Reads until what was read ends with `end`.
fn until(io: &mut TcpStream, read: &mut Vec<u8>, end: &[u8]) -> std::io::Result<()> {
    let mut piece = [0; 4096];
    while !read.ends_with(end) {
        match io.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => read.extend_from_slice(piece.get(..n).unwrap_or_default()),
        }
    }
    Ok(())
}
