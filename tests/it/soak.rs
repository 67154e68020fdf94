//! Two writers in a loop on a real S3 store, for a few seconds: `infra/soak.sh` in short.

use std::path::Path;
use std::process::Command;

use crate::support::minio::fresh_address;

#[test]
fn two_writers_in_a_loop_lose_and_double_nothing() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/soak.py");
    let output = Command::new("python3")
        .arg(script)
        .args([&fresh_address(), "--seconds", "8", "--kill", "0.15"])
        .env("TIER_BIN", env!("CARGO_BIN_EXE_tier"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && stdout.ends_with("nothing lost, nothing doubled\n"), "{stdout}\n{stderr}");
}
