//! placeholder while the layers below land
use super::App;
use crate::error::Result;
#[derive(Debug, clap::Args)]
pub struct VacuumArgs {}
pub async fn run(_app: &App, _args: VacuumArgs) -> Result<u8> {
    Ok(0)
}
