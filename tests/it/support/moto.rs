//! moto, an independent imitation of AWS, started by the test that asks for it.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::server::{Server, program};

pub fn start() -> Server {
    Server::start(|port, _| {
        let mut moto = program("TIER_TEST_MOTO");
        moto.args(["-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", &port.to_string()]);
        moto
    })
}

/// moto takes unsigned requests, and knows by the key's scope which service is meant.
pub fn request(server: &Server, service: &str, method: &str, path: &str, body: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let key = format!("Authorization: AWS4-HMAC-SHA256 Credential=test/20260824/us-east-1/{service}/aws4_request");
    let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{key}\r\n");
    let length = body.len();
    let rest = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(format!("{head}{rest}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path}: {answer}\n{}", server.log());
}
