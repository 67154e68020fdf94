//! Servers that one test starts for itself, stopped with it.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tier::clock::Stopwatch;

const STARTS_WITHIN_MS: u64 = 20_000;

/// A running server and the folder that it may write to.
pub struct Server {
    child: Child,
    pub folder: TempDir,
    pub port: u16,
}

impl Server {
    /// Runs `command`, told the port and the folder, and waits until it listens.
    pub fn start(command: impl FnOnce(u16, &TempDir) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = command(port, &folder);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut server = Server { child, folder, port };
        let started = Stopwatch::start();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let status = server.child.try_wait().unwrap();
            let is_late = started.elapsed_ms() > STARTS_WITHIN_MS;
            assert!(status.is_none() && !is_late, "{command:?} does not listen: {status:?}\n{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that `infra/test.sh` names; a test that needs it fails without it.
pub fn program(variable: &str) -> Command {
    let path =
        std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run the tests with infra/test.sh"));
    let mut command = Command::new(path);
    command.env("NO_PROXY", "127.0.0.1");
    command
}
