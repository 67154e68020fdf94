//! A counting proxy in front of an S3 server on this machine, each of whose requests takes a while longer.
//!
//!     lag_proxy LISTEN UPSTREAM MILLISECONDS
//!
//! GET /__stats answers with the requests and bytes since GET /__reset, as JSON. It needs nothing but `rustc`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

static LIST: AtomicU64 = AtomicU64::new(0);
static GET: AtomicU64 = AtomicU64::new(0);
static OTHER: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, lag] = args.as_slice() else { panic!("usage: lag_proxy LISTEN UPSTREAM MILLISECONDS") };
    let lag = Duration::from_millis(lag.parse().expect("a number of milliseconds"));
    for client in TcpListener::bind(listen)?.incoming() {
        let upstream = upstream.clone();
        // A connection that ends, ends its thread.
        thread::spawn(move || serve(client?, &upstream, lag));
    }
    Ok(())
}

fn serve(client: TcpStream, upstream: &str, lag: Duration) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut requests, mut answers) = (BufReader::new(client.try_clone()?), client);
    let server = TcpStream::connect(upstream)?;
    server.set_nodelay(true)?;
    let (mut from_server, mut to_server) = (BufReader::new(server.try_clone()?), server);
    while let Some(head) = Head::read(&mut requests)? {
        let mut words = head.text.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if target.starts_with("/__") {
            let stats = format!(
                r#"{{"list":{},"get":{},"other":{},"bytes":{}}}"#,
                LIST.load(Relaxed), GET.load(Relaxed), OTHER.load(Relaxed), BYTES.load(Relaxed)
            );
            if target == "/__reset" {
                [&LIST, &GET, &OTHER, &BYTES].iter().for_each(|counter| counter.store(0, Relaxed));
            }
            write!(answers, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{stats}", stats.len())?;
            continue;
        }
        let is_bucket = !target.split('?').next().unwrap_or_default().trim_matches('/').contains('/');
        let counter = match method {
            "GET" if is_bucket || target.contains("list-type=") => &LIST,
            "GET" => &GET,
            _ => &OTHER,
        };
        counter.fetch_add(1, Relaxed);
        let has_body = method != "HEAD";
        thread::sleep(lag);
        to_server.write_all(head.text.as_bytes())?;
        io::copy(&mut requests.by_ref().take(head.length.unwrap_or(0)), &mut to_server)?;
        let Some(answer) = Head::read(&mut from_server)? else { break };
        answers.write_all(answer.text.as_bytes())?;
        match answer.length {
            Some(length) if has_body => {
                BYTES.fetch_add(io::copy(&mut from_server.by_ref().take(length), &mut answers)?, Relaxed);
            }
            Some(_) => {}
            // Without a length it goes on until the server closes.
            None if has_body => {
                BYTES.fetch_add(io::copy(&mut from_server, &mut answers)?, Relaxed);
                break;
            }
            None => {}
        }
    }
    Ok(())
}

/// What comes before a body.
struct Head {
    text: String,
    length: Option<u64>,
}

impl Head {
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = Head { text: String::new(), length: None };
        loop {
            let start = head.text.len();
            if from.read_line(&mut head.text)? == 0 {
                return Ok(None);
            }
            let line = head.text[start..].trim_end();
            if line.is_empty() {
                return Ok(Some(head));
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                head.length = value.trim().parse().ok();
            }
        }
    }
}
