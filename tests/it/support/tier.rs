//! The real binary in a clean environment of its own.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The variables by which the tests' S3 store is named; `infra/test.sh` sets them.
const S3_VARIABLES: [&str; 5] =
    ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "NO_PROXY"];

/// A home, a working folder, and what is set in the environment.
pub struct Tier {
    pub folder: TempDir,
    variables: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Tier {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["work", "home", "tmp"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Tier { folder, variables: Vec::new() }
    }

    /// With the S3 store of the tests, which must be there.
    pub fn with_s3() -> Self {
        let mut tier = Self::new();
        for name in S3_VARIABLES {
            if let Ok(value) = std::env::var(name) {
                tier.set(name, &value);
            }
        }
        super::minio::endpoint();
        tier
    }

    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the working folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// What lies in the folder that processes are told to keep temporary files in.
    pub fn temporary_files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.folder.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        self.command_in(&self.path(""), args)
    }

    pub fn command_in(&self, folder: &Path, args: &[&str]) -> Command {
        let home = self.folder.path().join("home");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tier"));
        command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
        command.env("HOME", &home).env("XDG_CONFIG_HOME", home.join(".config"));
        command.env("TMPDIR", self.folder.path().join("tmp"));
        // No machine's metadata service is asked for credentials.
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command(args).output().unwrap())
    }

    /// As [`Tier::run`], without some of the variables that were set.
    pub fn run_without(&self, variables: &[&str], args: &[&str]) -> Outcome {
        let mut command = self.command(args);
        variables.iter().for_each(|name| {
            command.env_remove(name);
        });
        Outcome::of(command.output().unwrap())
    }

    /// Runs it and asserts that it exits with 0.
    pub fn ok(&self, args: &[&str]) -> Outcome {
        let outcome = self.run(args);
        assert_eq!(outcome.code, Some(0), "tier {args:?}: {outcome:#?}");
        outcome
    }

    /// The JSON document on stdout of a command that must succeed.
    pub fn json(&self, args: &[&str]) -> Value {
        let outcome = self.ok(&[&["--json"], args].concat());
        // A parser keeps the last of two fields of one name.
        let fields = outcome.stdout.lines().filter(|line| line.starts_with("  \"")).map(|line| line.split(':').next());
        let mut names = HashSet::new();
        fields.for_each(|name| assert!(names.insert(name), "tier {args:?} says twice: {name:?}"));
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("tier {args:?}: {error}: {outcome:#?}"))
    }

    pub fn run_with_stdin(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Outcome::of(child.wait_with_output().unwrap())
    }

    /// Starts it in the background.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts it again and again and kills it later each time, until a run is quicker than that. After each of them no
    /// temporary file is left, and `check` looks at the rest.
    pub async fn kill_until_done(&self, args: &[&str], first: Duration, check: impl AsyncFn()) {
        let (mut kills, mut delay) = (0, first);
        loop {
            let mut child = self.spawn(args);
            tokio::time::sleep(delay).await;
            if child.try_wait().unwrap().is_none() {
                kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
            }
            let ended = child.wait_with_output().unwrap();
            assert_eq!(self.temporary_files(), Vec::<PathBuf>::new(), "tier {args:?} after {delay:?}");
            check().await;
            if ended.status.code() == Some(0) {
                break;
            }
            assert_eq!(ended.status.signal(), Some(9), "tier {args:?}: {:#?}", Outcome::of(ended));
            kills += 1;
            delay = delay * 5 / 4;
        }
        assert!(kills >= 3, "tier {args:?} was too quick to be killed: {kills} kills");
    }
}

impl Outcome {
    pub fn of(output: Output) -> Self {
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }
}

/// The repository's `sample-data/`.
pub fn sample_data() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/sample-data").to_owned()
}
